import Kernels

/// Tokens of one sequence that cost less than a step each: some are proposed by steps that read weights in 8 bits, and one
/// pass with the model's own weights, which reads them once, chooses again at each of them (speculative decoding, Leviathan
/// et al. 2023, with the model's own rounded weights as the draft). What is chosen is what single steps would have chosen,
/// also at random: every choice is made of the same logits with the same random number, and the first that is not as
/// proposed ends the round.
struct SpeculativeDrafts {
    private let decoder: CachedDecoder
    /// Tokens that were chosen and not yet asked for.
    private var ready: ArraySlice<Int32> = []
    /// Tokens that were right of those that were proposed last.
    private var right: Int
    /// Passes that checked so far, and tokens that they chose.
    private(set) var checks = 0
    private(set) var chosenTokens = 0

    init(_ decoder: CachedDecoder) {
        self.decoder = decoder
        right = decoder.drafts
    }

    var isEmpty: Bool { ready.isEmpty }

    mutating func pop() -> Int32 { ready.removeFirst() }

    /// How many tokens to propose when `wanted` more are of use: two more than were right the last time, so that a text that
    /// cannot be guessed costs little more than without drafts.
    func count(_ wanted: Int) -> Int {
        max(0, min(decoder.drafts, right + 2, wanted - 1, decoder.capacity - decoder.length(of: 0) - 1))
    }

    /// Chooses one token at least, at most one more than `count`, to follow `token`.
    mutating func choose(
        behind token: Int32, count: Int, _ sampling: Sampling, _ random: inout SplitMix64
    ) {
        let start = decoder.length(of: 0)
        var (tokens, guess) = ([token], random)
        for _ in 0..<count {
            tokens.append(sampling.choose(decoder.propose(behind: tokens[tokens.count - 1]), &guess))
        }
        decoder.rewind(to: start)
        let logits = decoder.check(tokens)
        var chosen: [Int32] = []
        for row in tokens.indices {
            chosen.append(sampling.choose(logits.rows(row..<row + 1).vector, &random))
            if row + 1 < tokens.count && chosen[row] != tokens[row + 1] { break }
        }
        decoder.rewind(to: start + chosen.count)
        right = chosen.count - 1
        checks += 1
        chosenTokens += chosen.count
        ready = chosen[...]
    }
}
