import Kernels
import Testing

@Suite struct SoftmaxTests {
    @Test(arguments: [1, 3, 16, 17, 63, 64, 129], [0, 5])
    func `equals its oracle`(size: Int, gap: Int) {
        let scores = makeMatrix(size, size, gap: gap, seed: 1, scale: 10)
        let recomputed = copy(scores)
        let withoutSums = copy(scores)
        let expected = Reference.causalSoftmax(ReferenceMatrix(scores))
        let logSumExp = makeVector(size)
        Softmax.causalForward(scores, logSumExp: logSumExp)
        #expect(relativeError(scores, expected.probabilities) < 1e-6)
        #expect(elementError(ReferenceMatrix(scores).values, expected.probabilities.values) < 1e-5)
        #expect(relativeError(logSumExp, expected.logSumExp) < 1e-6)
        Softmax.causalForward(withoutSums, logSumExp: nil)
        #expect(ReferenceMatrix(withoutSums) == ReferenceMatrix(scores))
        Softmax.causalProbabilities(recomputed, logSumExp: logSumExp)
        #expect(relativeError(recomputed, expected.probabilities) < 2e-6)

        let dP = makeMatrix(size, size, gap: gap, seed: 2)
        let delta = makeVector(size)
        Softmax.rowDots(scores, dP, into: delta)
        let gradient = Reference.causalSoftmaxBackward(
            ReferenceMatrix(dP), probabilities: expected.probabilities)
        Softmax.causalBackward(dP, probabilities: scores, delta: delta, scale: 0.125)
        #expect(
            relativeError(dP, gradient.with(gradient.values.map { $0 * 0.125 }))
                < (size == 1 ? .infinity : 2e-6))
        #expect(
            (0..<size).allSatisfy { row in (row + 1..<size).allSatisfy { dP.base[row * dP.stride + $0] == 0 }
            })
    }

    /// Rows of a triangle are the same alone, whatever lies after the columns that they look at.
    @Test(arguments: [(1, 1), (1, 40), (16, 64), (17, 50), (33, 33), (40, 129)])
    func `the last rows of a triangle`(rows: Int, size: Int) {
        let scores = makeMatrix(size, size, seed: 1, scale: 10)
        let dP = makeMatrix(size, size, seed: 2)
        let past = size - rows
        func lastRows(_ matrix: Matrix) -> Matrix {
            let part = copy(matrix.rows(past..<size))
            for row in 0..<rows {
                for column in past + row + 1..<size { part.base[row * part.stride + column] = .nan }
            }
            return part
        }
        let (part, partAgain, partGradient) = (lastRows(scores), lastRows(scores), lastRows(dP))
        let (again, logSumExp, delta) = (copy(scores), makeVector(size), makeVector(size, seed: 3))
        let partSums = makeVector(rows)
        Softmax.causalForward(scores, logSumExp: logSumExp)
        Softmax.causalForward(part, logSumExp: partSums)
        #expect(ReferenceMatrix(part) == ReferenceMatrix(scores.rows(past..<size)))
        #expect(doubles(partSums) == doubles(logSumExp.slice(past..<size)))
        Softmax.causalProbabilities(again, logSumExp: logSumExp)
        Softmax.causalProbabilities(partAgain, logSumExp: partSums)
        #expect(ReferenceMatrix(partAgain) == ReferenceMatrix(again.rows(past..<size)))
        Softmax.causalBackward(dP, probabilities: scores, delta: delta, scale: 0.5)
        Softmax.causalBackward(
            partGradient, probabilities: part, delta: delta.slice(past..<size), scale: 0.5)
        #expect(ReferenceMatrix(partGradient) == ReferenceMatrix(dP.rows(past..<size)))
    }

    @Test func `scores of any size`() {
        let scores = makeMatrix(3, 3)
        for (index, value) in [5, 0, 0, 1e30, -1e30, 0, -300, -300, -400].enumerated() {
            scores.base[index] = Float(value)
        }
        Softmax.causalForward(scores, logSumExp: nil)
        #expect(ReferenceMatrix(scores).values == [1, 0, 0, 1, 0, 0, 0.5, 0.5, 0])
    }

    @Test func `NaN spoils its row only`() {
        let scores = makeMatrix(20, 20)
        scores.base[18 * 20 + 3] = .nan
        Softmax.causalForward(scores, logSumExp: nil)
        let values = ReferenceMatrix(scores)
        #expect(values.row(18)[0...18].allSatisfy { $0.isNaN })
        #expect(values.row(17).allSatisfy(\.isFinite) && values.row(19).allSatisfy(\.isFinite))
    }

    @Test(arguments: [2, 5, 17])
    func `oracle's gradient is that of its forward pass`(size: Int) {
        let scores = ReferenceMatrix(makeMatrix(size, size, seed: 1, scale: 2))
        let dP = ReferenceMatrix(makeMatrix(size, size, seed: 2))
        let differences = centralDifferences(scores.values) {
            Reference.causalSoftmax(scores.with($0)).probabilities.dot(dP)
        }
        let gradient = Reference.causalSoftmaxBackward(
            dP, probabilities: Reference.causalSoftmax(scores).probabilities)
        #expect(relativeError(gradient.values, differences) < 1e-6)
    }
}
