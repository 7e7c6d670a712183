import Corpus
import Kernels
import Ledger
import MessagePassing
import Transformer

/// Goes through the validation split, every rank through its share of the samples.
struct Evaluator {
    let samples: BatchSource
    let buffers: BatchBuffers

    /// What a model makes of the split, the same on every rank.
    struct Result {
        /// Mean over the target tokens, in nats.
        var loss: Double
        var tokens: Int
        /// nil unless the split has pairs.
        var exactMatch: ExactMatch?
    }

    /// Collective. `progress` is told the share of the rank's samples that is done behind every micro-batch, in 0 … 1.
    func evaluate(
        _ network: LanguageModel, on world: borrowing Communicator, progress: (Double) -> Void
    ) throws -> Result {
        let share = rankShare(of: samples.sampleCount, rank: world.rank, ranks: world.size)
        network.refreshWeights()
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        var exact = 0
        for first in stride(from: share.lowerBound, to: share.upperBound, by: network.microBatch) {
            let batch = buffers.load(
                samples, firstPosition: first,
                sequences: min(network.microBatch, share.upperBound - first))
            sum += network.loss(batch, predictions: buffers.predictions)
            if let predictions = buffers.predictions { exact += exactSequences(batch, predictions) }
            progress(
                Double(min(first + network.microBatch, share.upperBound) - share.lowerBound)
                    / Double(share.count))
        }
        return try withUnsafeTemporaryAllocation(of: Double.self, capacity: 3) { totals in
            totals[0] = sum.loss
            totals[1] = Double(sum.tokens)
            totals[2] = Double(exact)
            try world.allreduce(inPlace: totals, .sum)
            // Decisions hang on the loss, of which MPI does not promise the same bits everywhere.
            try world.broadcast(totals, from: 0)
            return Result(
                loss: totals[0] / max(1, totals[1]), tokens: Int(totals[1]),
                exactMatch: buffers.predictions.map { _ in
                    ExactMatch(pairs: samples.sampleCount, exact: Int(totals[2]))
                })
        }
    }

    /// Sequences all of whose targets were predicted.
    private func exactSequences(_ batch: TokenBatch, _ predictions: UnsafePointer<Int32>) -> Int {
        guard let targets = batch.targets else { return 0 }
        return (0..<batch.sequences).count { sequence in
            (sequence * batch.length..<(sequence + 1) * batch.length).allSatisfy {
                targets[$0] == CrossEntropy.ignoredTarget || targets[$0] == predictions[$0]
            }
        }
    }
}
