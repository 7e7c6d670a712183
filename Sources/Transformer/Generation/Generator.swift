import Configs
import Kernels

/// Continues several prompts at once, token by token.
///
/// A sequence that has filled its capacity forgets the older half of its tokens and goes on from the newer one.
public struct Generator {
    private let decoder: CachedDecoder
    private let sampling: Sampling
    private var random: [SplitMix64]
    /// What each sequence has before it, the token chosen last included.
    private var windows: [[Int32]]
    /// Sequences that go on.
    private var active: [Int]

    /// Reads the prompts, each of 1 to `capacity` tokens within the vocabulary, into sequences of `decoder`.
    public init(decoder: CachedDecoder, prompts: [[Int32]], sampling: Sampling) {
        precondition(
            prompts.allSatisfy { (1...decoder.capacity).contains($0.count) }
                && prompts.count <= decoder.sequences,
            "\(prompts.count) prompts of at most \(decoder.capacity) tokens")
        self.decoder = decoder
        self.sampling = sampling
        random = prompts.indices.map { SplitMix64(seed: sampling.seed, sequence: $0) }
        windows = prompts
        active = Array(prompts.indices)
        prompts.indices.forEach(decoder.clear)
    }

    public var isDone: Bool { active.isEmpty }

    /// The sequence is complete: no token of it comes any more.
    public mutating func finish(_ sequence: Int) { active.removeAll { $0 == sequence } }

    /// The next token of every sequence that goes on.
    public mutating func next() -> [(sequence: Int, token: Int32)] {
        var chosen: [(sequence: Int, token: Int32)] = []
        var prompts: [(tokens: [Int32], sequence: Int)] = []
        var steps: [(token: Int32, sequence: Int)] = []
        for sequence in active {
            let window = windows[sequence]
            if decoder.length(of: sequence) == window.count - 1, window.count <= decoder.capacity {
                steps.append((window[window.count - 1], sequence))
            } else {
                if window.count > decoder.capacity {
                    windows[sequence] = Array(window.suffix(max(1, decoder.capacity / 2)))
                }
                decoder.clear(sequence)
                prompts.append((windows[sequence], sequence))
            }
        }
        if !prompts.isEmpty {
            let logits = decoder.append(prompts)
            for (row, prompt) in prompts.enumerated() {
                chosen.append((prompt.sequence, choose(logits.rows(row..<row + 1).vector, prompt.sequence)))
            }
        }
        if !steps.isEmpty {
            let logits = decoder.step(steps)
            for (row, step) in steps.enumerated() {
                chosen.append((step.sequence, choose(logits.rows(row..<row + 1).vector, step.sequence)))
            }
        }
        for (sequence, token) in chosen { windows[sequence].append(token) }
        return chosen.sorted { $0.sequence < $1.sequence }
    }

    private mutating func choose(_ logits: Vector, _ sequence: Int) -> Int32 {
        sampling.choose(logits, &random[sequence])
    }
}
