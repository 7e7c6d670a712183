import Configs
import Foundation
import Kernels

/// How the next token is chosen from its logits.
public struct Sampling: Sendable {
    /// Divides the logits; 0 is greedy: always the most likely token.
    public var temperature: Double
    /// Choose among this many most likely tokens only; nil is among all.
    public var topK: Int?
    /// The same seed gives the same text.
    public var seed: UInt64

    public init(temperature: Double, topK: Int?, seed: UInt64) {
        self.temperature = temperature
        self.topK = topK
        self.seed = seed
    }
}

/// Continues a text token by token.
///
/// Every new token is one forward pass over the last `contextLength` tokens, for now without a key–value cache.
public struct Generator {
    private let decoder: Decoder
    private let sampling: Sampling
    private var random: SplitMix64
    private var window: [Int32]

    /// `prompt` must hold at least one token, each within the vocabulary.
    public init(decoder: Decoder, prompt: [Int32], sampling: Sampling) {
        precondition(!prompt.isEmpty, "generation starts from at least one token")
        self.decoder = decoder
        self.sampling = sampling
        random = SplitMix64(state: sampling.seed)
        window = Array(prompt.suffix(decoder.config.contextLength))
    }

    /// The next token, which becomes part of the context.
    public mutating func next() -> Int32 {
        let token = window.withUnsafeBufferPointer { tokens -> Int32 in
            guard let base = tokens.baseAddress else { preconditionFailure("the window is never empty") }
            let batch = TokenBatch(inputs: base, targets: nil, sequences: 1, length: tokens.count)
            decoder.forward(batch)
            let logits = decoder.logits(batch, rows: tokens.count - 1..<tokens.count)
            return Int32(choose(logits.vector))
        }
        if window.count == decoder.config.contextLength { window.removeFirst() }
        window.append(token)
        return token
    }

    private mutating func choose(_ logits: Vector) -> Int {
        let ranked = (0..<logits.count).sorted { logits[$0] > logits[$1] }
        guard sampling.temperature > 0 else { return ranked[0] }
        let candidates = ranked.prefix(sampling.topK ?? ranked.count)
        let largest = Double(logits[ranked[0]])
        let weights = candidates.map { exp((Double(logits[$0]) - largest) / sampling.temperature) }
        var remaining = random.nextUnit() * weights.reduce(0, +)
        for (token, weight) in zip(candidates, weights) {
            remaining -= weight
            if remaining < 0 { return token }
        }
        return ranked[0]
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): a small repeatable generator, enough to draw tokens.
private struct SplitMix64 {
    var state: UInt64

    /// Uniform in [0, 1).
    mutating func nextUnit() -> Double {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Double((z ^ (z >> 31)) >> 11) * 0x1p-53
    }
}
