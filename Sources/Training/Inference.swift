import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Transformer

/// What a checkpoint makes of the validation split.
public struct Evaluation: Codable, Sendable {
    public var schemaVersion = 1
    /// Step of the checkpoint.
    public var step: Int
    /// Mean over the target tokens, in nats.
    public var validationLoss: Double
    public var tokens: Int
    public var perplexity: Double
    /// Entropy of how frequent the split's targets are, in nats: the least loss of a model that knows nothing else of them.
    public var unigramEntropy: Double
    /// nil unless the split has pairs.
    public var exactMatch: ExactMatch?
}

extension Evaluation {
    /// For people, a line for each of its figures.
    public var text: String {
        var text = String(
            format: "validation loss %.4f nats per token (perplexity %.3f) over %ld tokens, step %ld\n",
            validationLoss, perplexity, tokens, step)
        text += String(format: "unigram entropy %.4f nats per token", unigramEntropy)
        // A split of one token has none.
        if unigramEntropy > 0 {
            text += String(format: "; the loss is %.1f %% of it", 100 * validationLoss / unigramEntropy)
        }
        text += "\n"
        if let exactMatch { text += "exact match \(exactMatch)\n" }
        return text
    }
}

/// Evaluates a checkpoint of the run in `directory`, every rank on its share of the validation split. Rank 0 says on
/// standard error how far it is when that takes long.
public func evaluateRun(
    _ directory: String, _ checkpoint: CheckpointChoice, on world: borrowing Communicator
) throws -> Evaluation {
    let host = try MPIEnvironment(world)
    let (finished, evaluator, entropy) = try world.collectively {
        let run = try RunDirectory(existing: directory)
        let finished = try LoadedModel(
            run, checkpoint, for: .passes(microBatch: 8, ranks: host.localSize), speaks: world.rank == 0)
        let config = finished.config
        let corpus = try PreparedCorpus.open(
            data: config.data, contextLength: config.model.contextLength,
            sourceLength: config.model.sourceLength, seed: config.train.seed,
            directory: run.data)
        try corpus.validation.validate(vocabSize: config.model.vocabSize)
        let buffers = try BatchBuffers(config, microBatch: finished.network.microBatch)
        return (
            finished, Evaluator(samples: corpus.validation, buffers: buffers),
            try corpus.validation.targetEntropy(vocabSize: config.model.vocabSize)
        )
    }
    var progress = ShareProgress(directory, done: "evaluated", reports: world.rank == 0)
    let whole = try evaluator.evaluate(finished.network, on: world) {
        progress.note($0)
        return true
    }
    guard let result = whole else { preconditionFailure("nobody has ended the evaluation") }
    try world.collectively {
        guard !result.loss.isFinite else { return }
        throw LockstepError(
            .nonFinite,
            "\(directory): the validation loss of step \(finished.step) is not finite; train again with "
                + "a lower train.optimizer.learning_rate, or take another checkpoint with --step"
        )
    }
    return Evaluation(
        step: finished.step, validationLoss: result.loss, tokens: result.tokens,
        perplexity: exp(result.loss), unigramEntropy: entropy, exactMatch: result.exactMatch)
}
