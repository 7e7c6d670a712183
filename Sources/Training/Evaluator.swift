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

    /// Collective. Behind every micro-batch `goesOn` is told the share of the rank's samples that is done, in 0 … 1; when it
    /// says no on any rank, there is no result on all of them.
    func evaluate(
        _ network: LanguageModel, on world: borrowing Communicator, goesOn: (Double) -> Bool
    ) throws -> Result? {
        let share = rankShare(of: samples.sampleCount, rank: world.rank, ranks: world.size)
        network.refreshWeights()
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        var exact = 0
        var isWhole = true
        for first in stride(from: share.lowerBound, to: share.upperBound, by: network.microBatch) {
            let batch = try buffers.load(
                samples, firstPosition: first,
                sequences: min(network.microBatch, share.upperBound - first))
            sum += network.loss(batch, predictions: buffers.predictions)
            if let predictions = buffers.predictions { exact += exactSequences(batch, predictions) }
            let end = min(first + network.microBatch, share.upperBound)
            isWhole = goesOn(Double(end - share.lowerBound) / Double(share.count)) || end == share.upperBound
            guard isWhole else { break }
        }
        return try withUnsafeTemporaryAllocation(of: Double.self, capacity: 4) { totals in
            totals[0] = sum.loss
            totals[1] = Double(sum.tokens)
            totals[2] = Double(exact)
            totals[3] = isWhole ? 0 : 1
            try world.allreduce(inPlace: totals, .sum)
            // Decisions hang on the loss, of which MPI does not promise the same bits everywhere.
            try world.broadcast(totals, from: 0)
            guard totals[3] == 0 else { return nil }
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
