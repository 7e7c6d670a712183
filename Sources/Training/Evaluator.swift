import Corpus
import Kernels
import Ledger
import MessagePassing
import Transformer

/// Mean loss over the validation split, every rank taking its share of the samples.
struct Evaluator {
    let samples: BatchSource
    let buffers: BatchBuffers

    /// Mean loss in nats per target token, and the number of tokens; the same on every rank. `heartbeat` is told of every
    /// micro-batch.
    func evaluate(
        _ network: LanguageModel, heartbeat: Heartbeat? = nil, on world: borrowing Communicator
    ) throws -> (loss: Double, tokens: Int) {
        let share = rankShare(of: samples.sampleCount, rank: world.rank, ranks: world.size)
        network.refreshWeights()
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        for first in stride(from: share.lowerBound, to: share.upperBound, by: network.microBatch) {
            sum += network.loss(
                buffers.load(
                    samples, firstPosition: first,
                    sequences: min(network.microBatch, share.upperBound - first)))
            heartbeat?.sign()
        }
        return try withUnsafeTemporaryAllocation(of: Double.self, capacity: 2) { totals in
            totals[0] = sum.loss
            totals[1] = Double(sum.tokens)
            try world.allreduce(inPlace: totals, .sum)
            return (totals[0] / max(1, totals[1]), Int(totals[1]))
        }
    }
}
