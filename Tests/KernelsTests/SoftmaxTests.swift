import Foundation
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
        Softmax.forward(scores, visible: .past, logSumExp: logSumExp)
        #expect(relativeError(scores, expected.probabilities) < 1e-6)
        #expect(elementError(ReferenceMatrix(scores).values, expected.probabilities.values) < 1e-5)
        #expect(relativeError(logSumExp, expected.logSumExp) < 1e-6)
        Softmax.forward(withoutSums, visible: .past, logSumExp: nil)
        #expect(ReferenceMatrix(withoutSums) == ReferenceMatrix(scores))
        Softmax.probabilities(recomputed, visible: .past, logSumExp: logSumExp)
        #expect(relativeError(recomputed, expected.probabilities) < 2e-6)

        let dP = makeMatrix(size, size, gap: gap, seed: 2)
        let delta = makeVector(size)
        Softmax.rowDots(scores, dP, into: delta)
        let gradient = Reference.causalSoftmaxBackward(
            ReferenceMatrix(dP), probabilities: expected.probabilities)
        Softmax.backward(dP, visible: .past, probabilities: scores, delta: delta, scale: 0.125)
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
        Softmax.forward(scores, visible: .past, logSumExp: logSumExp)
        Softmax.forward(part, visible: .past, logSumExp: partSums)
        #expect(ReferenceMatrix(part) == ReferenceMatrix(scores.rows(past..<size)))
        #expect(doubles(partSums) == doubles(logSumExp.slice(past..<size)))
        Softmax.probabilities(again, visible: .past, logSumExp: logSumExp)
        Softmax.probabilities(partAgain, visible: .past, logSumExp: partSums)
        #expect(ReferenceMatrix(partAgain) == ReferenceMatrix(again.rows(past..<size)))
        Softmax.backward(dP, visible: .past, probabilities: scores, delta: delta, scale: 0.5)
        Softmax.backward(
            partGradient, visible: .past, probabilities: part, delta: delta.slice(past..<size), scale: 0.5)
        #expect(ReferenceMatrix(partGradient) == ReferenceMatrix(dP.rows(past..<size)))
    }

    /// What every row looks at are the first columns, as in the last row of a lower triangle; the others are zero.
    @Test(arguments: [1, 16, 17, 40])
    func `padding is not looked at`(keys: Int) {
        let (rows, columns) = (5, 40)
        let scores = makeMatrix(rows, columns, gap: 3, seed: 1, scale: 4)
        let dP = makeMatrix(rows, columns, gap: 3, seed: 2)
        for row in 0..<rows {
            for column in keys..<columns { scores.base[row * scores.stride + column] = .nan }
        }
        let (again, sums) = (copy(scores), makeVector(rows))
        let start = ReferenceMatrix(scores)
        Softmax.forward(scores, visible: .first(keys), logSumExp: sums)
        Softmax.probabilities(again, visible: .first(keys), logSumExp: sums)
        #expect(gapsAreIntact(scores))
        let delta = makeVector(rows, seed: 3)
        let gradient = copy(dP)
        Softmax.backward(gradient, visible: .first(keys), probabilities: scores, delta: delta, scale: 0.5)
        for row in 0..<rows {
            let seen = start.row(row)[..<keys]
            let normalizer = log(seen.reduce(0) { $0 + exp($1) })
            let expected = seen.map { exp($0 - normalizer) } + Array(repeating: 0, count: columns - keys)
            #expect(relativeError(ReferenceMatrix(scores).row(row), expected) < 1e-6)
            #expect(relativeError(ReferenceMatrix(again).row(row), expected) < 1e-6)
            #expect(abs(Double(sums[row]) - normalizer) < 1e-5)
            let dScores = zip(expected, ReferenceMatrix(dP).row(row)).map {
                $0 * ($1 - Double(delta[row])) * 0.5
            }
            #expect(relativeError(ReferenceMatrix(gradient).row(row), dScores) < 1e-6)
        }
    }

    @Test func `scores of any size`() {
        let scores = makeMatrix(3, 3)
        for (index, value) in [5, 0, 0, 1e30, -1e30, 0, -300, -300, -400].enumerated() {
            scores.base[index] = Float(value)
        }
        Softmax.forward(scores, visible: .past, logSumExp: nil)
        #expect(ReferenceMatrix(scores).values == [1, 0, 0, 1, 0, 0, 0.5, 0.5, 0])
    }

    /// Within two units in the last place of e^x, and zero where that is less than 2^-126.5, below all normal numbers.
    @Test func `powers of e over the whole range`() {
        let count = 4001
        let values = makeMatrix(1, count)
        let x = (0..<count).map { Float(-100 + 188 * Double($0) / Double(count - 1)) }
        for (index, x) in x.enumerated() { values.base[index] = x }
        Softmax.probabilities(values, visible: .first(count), logSumExp: makeVector(1, scale: 0))
        for (index, x) in x.enumerated() {
            let (power, expected) = (values.base[index], exp(Double(x)))
            #expect(x < -87.68 ? power == 0 : abs(Double(power) / expected - 1) < 2 * 0x1p-23)
        }
    }

    @Test func `NaN spoils its row only`() {
        let scores = makeMatrix(20, 20)
        scores.base[18 * 20 + 3] = .nan
        Softmax.forward(scores, visible: .past, logSumExp: nil)
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
