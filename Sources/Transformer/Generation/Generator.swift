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
    private var drafts: SpeculativeDrafts

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
        drafts = SpeculativeDrafts(decoder)
        prompts.indices.forEach(decoder.clear)
    }

    public var isDone: Bool { active.isEmpty }

    /// The sequence is complete: no token of it comes any more.
    public mutating func finish(_ sequence: Int) { active.removeAll { $0 == sequence } }

    /// Passes that checked drafts, and the tokens that they chose, so far.
    public var draftChecks: Int { drafts.checks }
    public var draftTokens: Int { drafts.chosenTokens }
    /// Tokens that the last call of `next` proposed.
    public private(set) var proposed = 0

    /// The next token of every sequence that goes on.
    ///
    /// - Parameter wanted: how many more will be asked for, this one included, at most.
    public mutating func next(of wanted: Int = .max) -> [(sequence: Int, token: Int32)] {
        proposed = 0
        var chosen: [(sequence: Int, token: Int32)] = []
        var prompts: [(tokens: [Int32], sequence: Int)] = []
        var steps: [(token: Int32, sequence: Int)] = []
        for sequence in active {
            let window = windows[sequence]
            if !drafts.isEmpty {
                chosen.append((sequence, drafts.pop()))
            } else if decoder.length(of: sequence) == window.count - 1, window.count <= decoder.capacity {
                let token = window[window.count - 1]
                proposed = drafts.count(wanted)
                if proposed > 0 {
                    drafts.choose(behind: token, count: proposed, sampling, &random[sequence])
                    chosen.append((sequence, drafts.pop()))
                } else {
                    steps.append((token, sequence))
                }
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
