import Configs
import Corpus
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
    let (finished, corpus) = try world.collectively {
        let finished = try FinishedRun(directory, microBatch: 8)
        let config = finished.config
        let corpus = try PreparedCorpus.open(
            data: config.data, contextLength: config.model.contextLength, seed: config.train.seed,
            directory: finished.run.data)
        return (finished, corpus)
    }
    let buffers = try BatchBuffers(
        microBatch: finished.decoder.microBatch, length: corpus.validation.contextLength)
    let (loss, tokens) = try Evaluator(samples: corpus.validation, buffers: buffers)
        .evaluate(finished.decoder, on: world)
    return Evaluation(step: finished.step, validationLoss: loss, tokens: tokens, perplexity: exp(loss))
}

/// Continues `prompt` by `tokens` tokens with the newest checkpoint of the run in `run`. `emit` gets the prompt and then
/// the text, piece by piece as it comes.
public func generateText(
    run: String, prompt: String, tokens: Int, temperature: Double, topK: Int?, seed: UInt64,
    emit: ([UInt8]) throws -> Void
) throws {
    let finished = try FinishedRun(run, microBatch: 1)
    let tokenizer = finished.config.data.tokenizer.makeTokenizer()
    var generator = Generator(
        decoder: finished.decoder, prompt: tokenizer.encode(prompt),
        sampling: Sampling(temperature: temperature, topK: topK, seed: seed))
    try emit(Array(prompt.utf8))
    for _ in 0..<tokens { try emit(tokenizer.decode([generator.next()])) }
}

/// A run's configuration and its newest checkpoint, loaded.
private struct FinishedRun {
    let run: RunDirectory
    let config: RunConfig
    let decoder: Decoder
    let step: Int

    init(_ directory: String, microBatch: Int) throws {
        run = try RunDirectory(existing: directory)
        config = try RunConfig.load(path: run.config, overrides: [])
        decoder = try Decoder(
            config: config.model, microBatch: microBatch, purpose: .inference,
            backend: OpenBLAS(threads: config.parallel.threadsPerRank))
        step = try Checkpoint.loadLatest(of: run, into: decoder)
    }
}
