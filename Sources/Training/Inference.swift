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
        let finished = try FinishedRun(
            directory, microBatch: 8, ranks: host.localSize, speaks: world.rank == 0)
        let config = finished.config
        let corpus = try PreparedCorpus.open(
            data: config.data, contextLength: config.model.contextLength, seed: config.train.seed,
            directory: finished.run.data)
        try corpus.validation.validate(vocabSize: config.model.vocabSize)
        let buffers = try BatchBuffers(config, microBatch: finished.decoder.microBatch)
        return (finished, Evaluator(samples: corpus.validation, buffers: buffers))
    }
    let (loss, tokens) = try evaluator.evaluate(finished.decoder, on: world)
    try world.collectively {
        guard !loss.isFinite else { return }
        throw LockstepError(
            .nonFinite,
            "\(finished.run.checkpoints): the validation loss of step \(finished.step) is not finite; train again with "
                + "a lower train.optimizer.learning_rate, or move its newest checkpoint away to use the one before"
        )
    }
    return Evaluation(step: finished.step, validationLoss: loss, tokens: tokens, perplexity: exp(loss))
}

/// Continues `prompt` by `tokens` tokens with the newest checkpoint of the run in `run`. `emit` gets the prompt and then
/// the text, piece by piece as it comes, and returns whether to go on.
public func generateText(
    run: String, prompt: String, tokens: Int, temperature: Double, topK: Int?, seed: UInt64,
    emit: ([UInt8]) throws -> Bool
) throws {
    let finished = try FinishedRun(run, microBatch: 1, ranks: 1, speaks: true)
    guard finished.config.model.family == .decoder else {
        throw LockstepError(
            .usage,
            "\(run) is of family \(finished.config.model.family.rawValue), which predicts masked tokens, not the next one; "
                + "generate needs a run of family decoder")
    }
    let tokenizer = try finished.tokenizer()
    let promptTokens = tokenizer.encode(prompt)
    var generator = Generator(
        decoder: finished.decoder, prompt: promptTokens,
        sampling: Sampling(temperature: temperature, topK: topK, seed: seed))
    var isWanted = try emit(Array(prompt.utf8))
    var rest = tokens
    while isWanted && rest > 0 {
        isWanted = try emit(tokenizer.decode([generator.next()]))
        rest -= 1
    }
}

/// A run's configuration and its newest checkpoint, loaded.
private struct FinishedRun {
    let run: RunDirectory
    let config: RunConfig
    let decoder: Decoder
    private let state: CheckpointState

    /// Loads the run on `ranks` ranks of this host at once.
    ///
    /// - Parameter speaks: whether this process warns of damaged checkpoints.
    init(_ directory: String, microBatch: Int, ranks: Int, speaks: Bool) throws {
        run = try RunDirectory(existing: directory)
        let precision = try ProductPrecision(try RunConfig.load(path: run.config, overrides: []))
        config = precision.config
        precision.warning.map { reportToStandardError("lockstep: warning: \($0)") }
        let bytes = try Estimate.inferenceBytes(config, microBatch: microBatch)
        let machine = MachineFacts()
        try MemoryDemand(bytes: bytes, ranks: ranks, host: machine.host)
            .check(
                machine, remedy: "\(run.config) describes the model; load it on a machine with more memory")
        decoder = try Decoder(
            config: config.model, microBatch: microBatch, purpose: .inference,
            backend: OpenBLAS(), team: ThreadTeam(threads: config.parallel.threadsPerRank),
            tiles: precision.tiles)
        let state = try CheckpointLoader.newest(of: run, speaks: speaks)
        try CheckpointLoader.loadModel(state, of: run, into: decoder)
        decoder.refreshWeights()
        self.state = state
    }

    var step: Int { state.step }

    /// The one that the run was trained with. Throws `.inputMissing`, `.badData`.
    func tokenizer() throws -> any Tokenizer {
        if case .file = config.data.tokenizer {
            let path = PreparedCorpus.tokenizerPath(in: run.data)
            try state.requireSameTokenizer(Digest.text(ofFile: path), path)
        }
        return try PreparedCorpus.tokenizer(config.data, directory: run.data)
    }
}
