import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Transformer

/// Logits of `tokens`, `[tokens.count, V]` in fp32, by the Hugging Face model in `folder`, all in one pass.
///
/// - Parameter source: what an encoder–decoder looks at; empty in other families.
/// - Throws: `LockstepError`: `.usage` when there are no tokens, more than the context, or others than the vocabulary's.
package func logits(ofModel folder: String, tokens: [Int32], source: [Int32]) throws -> [UInt8] {
    let model = try LoadedModel(pretrained: folder, for: .passes(microBatch: 1, ranks: 1))
    let config = model.config.model
    try requireTokens(tokens, config)
    if config.family == .encoderDecoder { try requireSource(source, config) }
    return tokens.withUnsafeBufferPointer { inputs in
        source.withUnsafeBufferPointer { sources in
            guard let base = inputs.baseAddress else { return [] }
            let batch = TokenBatch(
                inputs: base, targets: nil, sequences: 1, length: tokens.count,
                source: config.family == .encoderDecoder
                    ? sources.baseAddress.map { TokenBatch.Source(tokens: $0, length: sources.count) } : nil)
            model.network.forward(batch)
            var bytes: [UInt8] = []
            for row in tokens.indices {
                let logits = model.network.logits(batch, rows: row..<row + 1).vector
                bytes += UnsafeRawBufferPointer(start: logits.base, count: 4 * logits.count)
            }
            return bytes
        }
    }
}

/// What greedy generation came to.
package struct GenerationTimes: Codable, Sendable {
    /// Behind each prompt.
    package var tokens: [[Int32]] = []
    /// Of each round: until the first token of every prompt, and from there to the last.
    package var promptSeconds: [Double] = []
    package var stepSeconds: [Double] = []
    /// Passes of the last round that checked drafts.
    package var draftChecks = 0
}

/// Continues `prompts` greedily by `tokens` tokens with the Hugging Face model in `folder`, `rounds` times; with an
/// encoder–decoder they are sources, of each of which it makes a target that begins with the newline of its tokenizer.
///
/// - Throws: `LockstepError`: `.usage` for prompts that are not the model's, or longer than its context with what follows.
package func timeGeneration(
    ofModel folder: String, prompts: [[Int32]], tokens: Int, threads: Int, isRounded: Bool, drafts: Int?,
    rounds: Int
) throws -> GenerationTimes {
    let sources = prompts
    let config = try RunConfig.fineTuning(folder)
    let isPair = config.model.family == .encoderDecoder
    var prompts = prompts
    if isPair {
        let start = try config.data.tokenizer.makeTokenizer().token(ofByte: 0x0A)
        prompts = sources.map { _ in [start] }
    }
    let longest = prompts.map(\.count).max() ?? 0
    let drafts = drafts ?? InferenceShape.usualDrafts(config.model, sequences: prompts.count)
    let shape = InferenceShape(
        sequences: prompts.count, length: longest + tokens, threads: threads, rounds: isRounded,
        drafts: drafts)
    let model = try LoadedModel(pretrained: folder, for: .generation(shape))
    for prompt in prompts { try requireTokens(prompt, model.config.model, room: tokens) }
    if isPair { for source in sources { try requireSource(source, model.config.model) } }
    guard !prompts.isEmpty else { throw LockstepError(.usage, "there are no prompts") }
    let decoder = try CachedDecoder(
        model.network, sequences: shape.sequences, capacity: shape.length, rounds: isRounded, drafts: drafts)
    var times = GenerationTimes()
    let clock = ContinuousClock()
    for _ in 0..<rounds {
        let start = clock.now
        if isPair { decoder.look(at: sources.enumerated().map { ($1, $0) }) }
        var generator = Generator(
            decoder: decoder, prompts: prompts, sampling: Sampling(temperature: 0, seed: 1))
        times.tokens = generator.next().map { [$0.token] }
        let middle = clock.now
        for index in 1..<tokens {
            for (sequence, token) in generator.next(of: tokens - index) {
                times.tokens[sequence].append(token)
            }
        }
        times.promptSeconds.append((middle - start) / .seconds(1))
        times.stepSeconds.append((clock.now - middle) / .seconds(1))
        times.draftChecks = generator.draftChecks
    }
    return times
}

private func requireTokens(_ tokens: [Int32], _ config: ModelConfig, room: Int = 0) throws {
    try require(tokens, config, room: room, most: config.contextLength)
}

private func requireSource(_ tokens: [Int32], _ config: ModelConfig) throws {
    try require(tokens, config, room: 0, most: config.sourceLength)
}

private func require(_ tokens: [Int32], _ config: ModelConfig, room: Int, most: Int) throws {
    guard !tokens.isEmpty, tokens.count + room <= most,
        tokens.allSatisfy({ (0..<config.vocabSize).contains(Int($0)) })
    else {
        throw LockstepError(
            .usage,
            "\(tokens.count) tokens and \(room) behind them: expected 1 to \(most) in all, each from 0 to "
                + "\(config.vocabSize - 1)")
    }
}
