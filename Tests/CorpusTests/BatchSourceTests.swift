import Configs
import Corpus
import Foundation
import Testing

@Suite struct BatchSourceTests {
    /// Seven tokens are two samples of three: the first is no target, and all others are.
    @Test func entropyIsThatOfEveryTarget() throws {
        let folder = try TemporaryFolder()
        let path = "\(folder.path)/a.bin"
        var writer = try TokenShardWriter(path: path)
        try writer.append([9, 1, 1, 1, 5, 2, 2, 9])
        try writer.finish()
        let source = BatchSource(
            shard: try TokenShard(path: path), tokens: 0..<8, contextLength: 3, order: .sequential)
        let expected = -(log(1.0 / 2) / 2 + log(1.0 / 6) / 6 + log(1.0 / 3) / 3)
        #expect(try abs(source.targetEntropy(vocabSize: 10) - expected) < 1e-12)
    }

    /// A shard whose token at position i is i mod 65,521, so that a batch shows which samples it holds.
    private func source(
        in folder: borrowing TemporaryFolder, tokens: Int, split: Range<Int>? = nil, contextLength: Int,
        order: BatchSource.Order
    ) throws -> BatchSource {
        let path = try folder.write(shardBytes(tokens: (0..<tokens).map { UInt16($0 % 65_521) }), to: "a.bin")
        return BatchSource(
            shard: try TokenShard(path: path), tokens: split ?? 0..<tokens, contextLength: contextLength,
            order: order)
    }

    private func batch(
        _ source: BatchSource, from position: Int, sequences: Int
    ) throws -> (inputs: [Int32], targets: [Int32]) {
        let elements = sequences * source.contextLength
        var inputs = [Int32](repeating: -1, count: elements + 1)
        var targets = inputs
        try inputs.withUnsafeMutableBufferPointer { inputs in
            try targets.withUnsafeMutableBufferPointer { targets in
                try source.fill(
                    inputs: inputs.baseAddress!, targets: targets.baseAddress!, firstPosition: position,
                    sequences: sequences)
            }
        }
        #expect(inputs[elements] == -1 && targets[elements] == -1, "written past the batch")
        return (Array(inputs.dropLast()), Array(targets.dropLast()))
    }

    @Test(arguments: [(tokens: 9, context: 4, samples: 2), (8, 4, 1), (5, 4, 1), (2, 1, 1), (101, 7, 14)])
    func sequentialSamplesTileTheSplit(tokens: Int, context: Int, samples: Int) throws {
        let folder = try TemporaryFolder()
        let source = try source(in: folder, tokens: tokens, contextLength: context, order: .sequential)
        #expect(source.sampleCount == samples)
        let (inputs, targets) = try batch(source, from: 0, sequences: samples)
        #expect(inputs == (0..<samples * context).map(Int32.init))
        #expect(targets == (1..<samples * context + 1).map(Int32.init))
    }

    @Test func splitBeginsWhereItsRangeDoes() throws {
        let folder = try TemporaryFolder()
        let source = try source(
            in: folder, tokens: 100, split: 60..<75, contextLength: 7, order: .sequential)
        #expect(source.sampleCount == 2)
        let (inputs, targets) = try batch(source, from: 1, sequences: 1)
        #expect(inputs == Array(67..<74))
        #expect(targets == Array(68..<75))
    }

    @Test func everySampleOnceAnEpochAcrossBatches() throws {
        let folder = try TemporaryFolder()
        let source = try source(in: folder, tokens: 1003, contextLength: 7, order: .shuffled(seed: 4))
        #expect(source.sampleCount == 143)
        // Batches of 5 straddle the border between the epochs.
        var samples: [Int32] = []
        for position in stride(from: 0, to: 2 * 143, by: 5) {
            let (inputs, targets) = try batch(source, from: position, sequences: 5)
            for sequence in 0..<5 {
                let first = inputs[sequence * 7]
                #expect(first % 7 == 0)
                #expect(Array(inputs[sequence * 7..<sequence * 7 + 7]) == Array(first..<first + 7))
                #expect(Array(targets[sequence * 7..<sequence * 7 + 7]) == Array(first + 1..<first + 8))
                samples.append(first / 7)
            }
        }
        let (first, second) = (Array(samples[..<143]), Array(samples[143..<286]))
        #expect(first.sorted() == Array(0..<143))
        #expect(second.sorted() == Array(0..<143))
        #expect(first != second)
    }

    /// The global batch of a step is the same whatever the number of ranks, sequence by sequence.
    @Test(arguments: [1, 2, 3, 4, 6, 12])
    func ranksTogetherTakeTheSameGlobalBatch(ranks: Int) throws {
        let folder = try TemporaryFolder()
        let source = try source(in: folder, tokens: 500, contextLength: 3, order: .shuffled(seed: 11))
        let globalBatch = 12
        for step in 0..<30 {
            let whole = try batch(source, from: step * globalBatch, sequences: globalBatch)
            var inputs: [Int32] = []
            var targets: [Int32] = []
            for rank in 0..<ranks {
                let share = rankShare(of: globalBatch, rank: rank, ranks: ranks)
                #expect(share.count == globalBatch / ranks)
                let part = try batch(
                    source, from: step * globalBatch + share.lowerBound, sequences: share.count)
                inputs += part.inputs
                targets += part.targets
            }
            #expect(inputs == whole.inputs)
            #expect(targets == whole.targets)
        }
    }

    @Test func sharesOfUnevenCountsCoverEverythingOnce() {
        for count in [0, 1, 2, 5, 7, 100] {
            for ranks in 1...8 {
                let shares = (0..<ranks).map { rankShare(of: count, rank: $0, ranks: ranks) }
                #expect(shares.flatMap { Array($0) } == Array(0..<count))
                let sizes = shares.map(\.count)
                #expect(sizes.max()! - sizes.min()! <= 1)
            }
        }
    }
}
