import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Transformer

/// Loss of a checkpoint on the validation split.
public struct Evaluation: Codable, Sendable {
    public var schemaVersion = 1
    /// Step of the checkpoint.
    public var step: Int
    /// Mean over the target tokens, in nats.
    public var validationLoss: Double
    public var tokens: Int
    public var perplexity: Double
}

/// Evaluates the newest checkpoint of the run in `directory`, every rank on its share of the validation split.
public func evaluateRun(_ directory: String, on world: borrowing Communicator) throws -> Evaluation {
    let host = try MPIEnvironment(world)
    let (finished, evaluator) = try world.collectively {
        let run = try RunDirectory(existing: directory)
        let finished = try LoadedModel(
            run, for: .passes(microBatch: 8, ranks: host.localSize), speaks: world.rank == 0)
        let config = finished.config
        let corpus = try PreparedCorpus.open(
            data: config.data, contextLength: config.model.contextLength, seed: config.train.seed,
            directory: run.data)
        try corpus.validation.validate(vocabSize: config.model.vocabSize)
        let buffers = try BatchBuffers(config, microBatch: finished.network.microBatch)
        return (finished, Evaluator(samples: corpus.validation, buffers: buffers))
    }
    let (loss, tokens) = try evaluator.evaluate(finished.network, on: world)
    try world.collectively {
        guard !loss.isFinite else { return }
        throw LockstepError(
            .nonFinite,
            "\(directory): the validation loss of step \(finished.step) is not finite; train again with "
                + "a lower train.optimizer.learning_rate, or move its newest checkpoint away to use the one before"
        )
    }
    return Evaluation(step: finished.step, validationLoss: loss, tokens: tokens, perplexity: exp(loss))
}
