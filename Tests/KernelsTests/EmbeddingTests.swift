import Foundation
import Kernels
import Testing

@Suite struct EmbeddingTests {
    @Test(arguments: [1, 17, 63, 64, 129], [0, 5])
    func `equals its oracle`(columns: Int, gap: Int) {
        // Three sequences of four tokens, two positions to spare, tokens repeated within and across sequences.
        let tokens: [Int32] = [4, 0, 4, 2, 1, 1, 1, 0, 4, 2, 3, 3]
        let tokenWeight = makeMatrix(5, columns, gap: gap, seed: 1)
        let positionWeight = makeMatrix(6, columns, gap: gap, seed: 2)
        let y = makeMatrix(12, columns, gap: gap)
        Embedding.forward(
            tokens: tokens, sequences: 3, tokenWeight: tokenWeight, positionWeight: positionWeight, into: y)
        let expected = Reference.embedding(
            tokens: tokens, sequences: 3, tokenWeight: ReferenceMatrix(tokenWeight),
            positionWeight: ReferenceMatrix(positionWeight))
        #expect(relativeError(y, expected) < 1e-7)

        let dy = makeMatrix(12, columns, gap: gap, seed: 3)
        let gradient = Reference.embeddingBackward(
            ReferenceMatrix(dy), tokens: tokens, sequences: 3, vocabulary: 5, positions: 6)
        let expectedToken = ReferenceMatrix(tokenWeight) + gradient.dTokenWeight
        let expectedPosition = ReferenceMatrix(positionWeight) + gradient.dPositionWeight
        Embedding.backward(
            dy, tokens: tokens, sequences: 3, dTokenWeight: tokenWeight, dPositionWeight: positionWeight)
        #expect(relativeError(tokenWeight, expectedToken) < 1e-6)
        #expect(relativeError(positionWeight, expectedPosition) < 1e-6)
    }

    @Test(arguments: [1, 17, 64], [true, false])
    func `scaled, and without positions`(columns: Int, hasPositions: Bool) {
        let tokens: [Int32] = [4, 0, 4, 2, 1, 1]
        let tokenWeight = makeMatrix(5, columns, seed: 1)
        let positionWeight = hasPositions ? makeMatrix(3, columns, seed: 2) : nil
        let y = makeMatrix(6, columns)
        Embedding.forward(
            tokens: tokens, sequences: 2, tokenWeight: tokenWeight, scale: 2.5,
            positionWeight: positionWeight, into: y)
        let expected = Reference.embedding(
            tokens: tokens, sequences: 2, tokenWeight: ReferenceMatrix(tokenWeight), scale: 2.5,
            positionWeight: positionWeight.map { ReferenceMatrix($0) })
        #expect(relativeError(y, expected) < 1e-6)

        let dy = makeMatrix(6, columns, seed: 3)
        let gradient = Reference.embeddingBackward(
            ReferenceMatrix(dy), tokens: tokens, sequences: 2, scale: 2.5, vocabulary: 5, positions: 3)
        let expectedToken = ReferenceMatrix(tokenWeight) + gradient.dTokenWeight
        let expectedPosition = positionWeight.map { ReferenceMatrix($0) + gradient.dPositionWeight }
        Embedding.backward(
            dy, tokens: tokens, sequences: 2, dTokenWeight: tokenWeight, scale: 2.5,
            dPositionWeight: positionWeight)
        #expect(relativeError(tokenWeight, expectedToken) < 1e-6)
        if let positionWeight, let expectedPosition {
            #expect(relativeError(positionWeight, expectedPosition) < 1e-6)
        }
    }

    @Test(arguments: [1, 17, 64], [0, 5])
    func `a row is added to every row`(columns: Int, gap: Int) {
        let (y, row) = (makeMatrix(3, columns, gap: gap, seed: 1), makeVector(columns, seed: 2))
        var expected = ReferenceMatrix(y)
        for index in expected.values.indices { expected.values[index] += Double(row[index % columns]) }
        Embedding.add(row, toEveryRowOf: y)
        #expect(relativeError(y, expected) < 1e-6)
    }

    /// Of four columns the angles are p and p/100, of three p and p/10000^(2/3).
    @Test func `sinusoids are Vaswani's, sines first`() {
        let (even, odd) = (makeMatrix(3, 4), makeMatrix(3, 3))
        Embedding.fillSinusoids(even)
        Embedding.fillSinusoids(odd)
        for position in 0..<3 {
            let p = Double(position)
            #expect(
                relativeError(
                    ReferenceMatrix(even).row(position), [sin(p), sin(p / 100), cos(p), cos(p / 100)]) < 1e-6)
            let slow = p / pow(10_000, 2.0 / 3)
            #expect(relativeError(ReferenceMatrix(odd).row(position), [sin(p), sin(slow), cos(p)]) < 1e-6)
        }
    }

    @Test func `oracle's gradient is that of its forward pass`() {
        let tokens: [Int32] = [2, 0, 2, 1, 1, 2]
        let tokenWeight = ReferenceMatrix(makeMatrix(3, 5, seed: 1))
        let positionWeight = ReferenceMatrix(makeMatrix(4, 5, seed: 2))
        let dy = ReferenceMatrix(makeMatrix(6, 5, seed: 3))
        let gradient = Reference.embeddingBackward(
            dy, tokens: tokens, sequences: 2, vocabulary: 3, positions: 4)
        let dToken = centralDifferences(tokenWeight.values) {
            Reference.embedding(
                tokens: tokens, sequences: 2, tokenWeight: tokenWeight.with($0),
                positionWeight: positionWeight
            ).dot(dy)
        }
        let dPosition = centralDifferences(positionWeight.values) {
            Reference.embedding(
                tokens: tokens, sequences: 2, tokenWeight: tokenWeight,
                positionWeight: positionWeight.with($0)
            ).dot(dy)
        }
        #expect(relativeError(gradient.dTokenWeight.values, dToken) < 1e-6)
        #expect(relativeError(gradient.dPositionWeight.values, dPosition) < 1e-6)
    }
}
