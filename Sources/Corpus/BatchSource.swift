/// Batches from one split of the corpus.
///
/// With s = `contextLength`, sample i takes tokens [i·s, i·s + s] of the split: the first s are its inputs, the last s
/// its targets. Tokens after the last whole sample are left out.
public struct BatchSource: Sendable {
    public enum Order: Sendable {
        /// Position p is the sample that `SampleOrder` puts there; positions go on over the epochs.
        case shuffled(seed: UInt64)
        /// Position i is sample i.
        case sequential
    }

    /// Samples in the split: (tokens − 1) / s.
    public let sampleCount: Int
    /// Tokens in a sequence.
    public let contextLength: Int
    private let shard: TokenShard
    private let tokens: Range<Int>
    private let order: SampleOrder?

    /// - Parameter tokens: the split's part of the shard, at least `contextLength` + 1 tokens.
    public init(shard: TokenShard, tokens: Range<Int>, contextLength: Int, order: Order) {
        precondition(tokens.lowerBound >= 0 && tokens.upperBound <= shard.count, "split outside the shard")
        precondition(contextLength > 0 && tokens.count > contextLength, "split without a whole sample")
        self.shard = shard
        self.contextLength = contextLength
        self.tokens = tokens
        sampleCount = (tokens.count - 1) / contextLength
        self.order =
            switch order {
            case .shuffled(let seed): SampleOrder(seed: seed, count: sampleCount)
            case .sequential: nil
            }
    }

    /// Tokens of the split.
    public var tokenCount: Int { tokens.count }

    /// Reads all tokens and checks that they are in the vocabulary.
    ///
    /// - Throws: `LockstepError(.badData)`.
    public func validate(vocabSize: Int) throws { try shard.validate(vocabSize: vocabSize, in: tokens) }

    /// Mean bytes of a target of the split's samples, read from all of them; nil when one is not of the tokenizer.
    public func bytesPerTarget(_ tokenizer: any Tokenizer) -> Double? {
        var bytes = 0
        for position in 1...sampleCount * contextLength {
            guard let count = tokenizer.byteCount(of: shard[tokens.lowerBound + position]) else { return nil }
            bytes += count
        }
        return Double(bytes) / Double(sampleCount * contextLength)
    }

    /// Copies the samples at positions `firstPosition ..< firstPosition + sequences`; allocates nothing.
    ///
    /// - Parameters:
    ///   - inputs: [sequences, s]
    ///   - targets: [sequences, s]
    public func fill(
        inputs: UnsafeMutablePointer<Int32>, targets: UnsafeMutablePointer<Int32>, firstPosition: Int,
        sequences: Int
    ) {
        for sequence in 0..<sequences {
            let position = firstPosition + sequence
            let sample = if let order { order.sample(at: position) } else { position }
            precondition(sample >= 0 && sample < sampleCount, "position outside the split")
            let first = tokens.lowerBound + sample * contextLength
            let offset = sequence * contextLength
            shard.copy(first..<first + contextLength, to: inputs + offset)
            shard.copy(first + 1..<first + 1 + contextLength, to: targets + offset)
        }
    }
}

/// The part of `count` consecutive items that falls to a rank, [⌊r·n/p⌋, ⌊(r+1)·n/p⌋): the parts are disjoint, cover all
/// items and differ by at most one.
public func rankShare(of count: Int, rank: Int, ranks: Int) -> Range<Int> {
    precondition(ranks > 0 && rank >= 0 && rank < ranks && count >= 0, "no such rank")
    return rank * count / ranks..<(rank + 1) * count / ranks
}
