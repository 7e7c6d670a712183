import Configs
import Cost
import Foundation
import Kernels
import Transformer

/// Logits of `tokens`, `[tokens.count, V]` in fp32, by the Hugging Face model in `folder`, all in one pass.
///
/// - Throws: `LockstepError`: `.usage` when there are no tokens, more than the context, or others than the vocabulary's.
package func logits(ofModel folder: String, tokens: [Int32]) throws -> [UInt8] {
    let model = try LoadedModel(pretrained: folder, for: .passes(microBatch: 1, ranks: 1))
    let config = model.config.model
    try requireTokens(tokens, config)
    return tokens.withUnsafeBufferPointer { inputs in
        guard let base = inputs.baseAddress else { return [] }
        let batch = TokenBatch(inputs: base, targets: nil, sequences: 1, length: tokens.count)
        model.network.forward(batch)
        var bytes: [UInt8] = []
        for row in tokens.indices {
            let logits = model.network.logits(batch, rows: row..<row + 1).vector
            bytes += UnsafeRawBufferPointer(start: logits.base, count: 4 * logits.count)
        }
        return bytes
    }
}

/// What greedy generation came to.
package struct GenerationTimes: Codable, Sendable {
    /// Behind each prompt.
    package var tokens: [[Int32]] = []
    /// Of each round: until the first token of every prompt, and from there to the last.
    package var promptSeconds: [Double] = []
    package var stepSeconds: [Double] = []
}

/// Continues `prompts` greedily by `tokens` tokens with the Hugging Face model in `folder`, `rounds` times.
///
/// - Throws: `LockstepError`: `.usage` for prompts that are not the model's, or longer than its context with what follows.
package func timeGeneration(
    ofModel folder: String, prompts: [[Int32]], tokens: Int, threads: Int, isRounded: Bool, rounds: Int
) throws -> GenerationTimes {
    let longest = prompts.map(\.count).max() ?? 0
    let shape = InferenceShape(
        sequences: prompts.count, length: longest + tokens, threads: threads, rounds: isRounded)
    let model = try LoadedModel(pretrained: folder, for: .generation(shape))
    for prompt in prompts { try requireTokens(prompt, model.config.model, room: tokens) }
    guard !prompts.isEmpty else { throw LockstepError(.usage, "there are no prompts") }
    let decoder = try CachedDecoder(
        model.network, sequences: shape.sequences, capacity: shape.length, rounds: isRounded)
    var times = GenerationTimes()
    let clock = ContinuousClock()
    for _ in 0..<rounds {
        let start = clock.now
        var generator = Generator(
            decoder: decoder, prompts: prompts, sampling: Sampling(temperature: 0, seed: 1))
        times.tokens = generator.next().map { [$0.token] }
        let middle = clock.now
        for _ in 1..<tokens {
            for (sequence, token) in generator.next() { times.tokens[sequence].append(token) }
        }
        times.promptSeconds.append((middle - start) / .seconds(1))
        times.stepSeconds.append((clock.now - middle) / .seconds(1))
    }
    return times
}

private func requireTokens(_ tokens: [Int32], _ config: ModelConfig, room: Int = 0) throws {
    guard !tokens.isEmpty, tokens.count + room <= config.contextLength,
        tokens.allSatisfy({ (0..<config.vocabSize).contains(Int($0)) })
    else {
        throw LockstepError(
            .usage,
            "\(tokens.count) tokens and \(room) behind them: expected 1 to \(config.contextLength) in all, each from 0 to "
                + "\(config.vocabSize - 1)")
    }
}
