/// Batches from one split of the corpus, of a text or of pairs.
///
/// A sample of pairs is a pair as one sequence, source, separator, target and end, with loss on target and end.
/// Of a text, with s = `contextLength`, sample i takes tokens [i·s, i·s + s] of the split: the first s are its inputs, the last s
/// its targets. Tokens after the last whole sample are left out.
public struct BatchSource: Sendable {
    public enum Order: Sendable {
        /// Position p is the sample that `SampleOrder` puts there; positions go on over the epochs.
        case shuffled(seed: UInt64)
        /// Position i is sample i.
        case sequential
    }

    /// Samples in the split: pairs, or of a text (tokens − 1) / s.
    public let sampleCount: Int
    /// Tokens in a sequence.
    public let contextLength: Int
    private let shard: TokenShard
    private let tokens: Range<Int>
    /// nil for a text.
    private let pairs: PairShard?
    private let order: SampleOrder?

    /// - Parameter tokens: the split's part of the shard, at least `contextLength` + 1 tokens.
    public init(shard: TokenShard, tokens: Range<Int>, contextLength: Int, order: Order) {
        precondition(tokens.lowerBound >= 0 && tokens.upperBound <= shard.count, "split outside the shard")
        precondition(contextLength > 0 && tokens.count > contextLength, "split without a whole sample")
        self.shard = shard
        self.contextLength = contextLength
        self.tokens = tokens
        sampleCount = (tokens.count - 1) / contextLength
        pairs = nil
        self.order = Self.order(order, count: sampleCount)
    }

    /// - Parameter pairs: none longer than `contextLength` + 1 with separator and end.
    init(pairs: PairShard, contextLength: Int, order: Order) {
        self.pairs = pairs
        self.contextLength = contextLength
        shard = pairs.tokens
        tokens = 0..<pairs.tokens.count
        sampleCount = pairs.count
        self.order = Self.order(order, count: sampleCount)
    }

    private static func order(_ order: Order, count: Int) -> SampleOrder? {
        switch order {
        case .shuffled(let seed): SampleOrder(seed: seed, count: count)
        case .sequential: nil
        }
    }

    /// Tokens of the split that batches have; a pair takes a whole sequence.
    public var tokenCount: Int { pairs == nil ? tokens.count : sampleCount * contextLength }

    /// Reads all tokens and checks that they are in the vocabulary.
    ///
    /// - Throws: `LockstepError(.badData)`.
    public func validate(vocabSize: Int) throws { try shard.validate(vocabSize: vocabSize, in: tokens) }

    /// Mean bytes of a target of the split's samples, read from all of them; nil when one is not of the tokenizer.
    /// There is none for pairs.
    public func bytesPerTarget(_ tokenizer: any Tokenizer) -> Double? {
        guard pairs == nil else { return nil }
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
            let sample = self.sample(at: firstPosition + sequence)
            let offset = sequence * contextLength
            if let pairs {
                pairs.fillSequence(
                    sample, inputs: inputs + offset, targets: targets + offset, length: contextLength)
                continue
            }
            let first = tokens.lowerBound + sample * contextLength
            shard.copy(first..<first + contextLength, to: inputs + offset)
            shard.copy(first + 1..<first + 1 + contextLength, to: targets + offset)
        }
    }

    /// Writes the pairs at positions `firstPosition ..< firstPosition + sequences` as an encoder–decoder takes them;
    /// allocates nothing. Only for pairs.
    public func fill(_ batch: PairBatch, firstPosition: Int, sequences: Int) {
        guard let pairs else { preconditionFailure("a text has no pairs") }
        for row in 0..<sequences { pairs.fill(batch, row: row, with: sample(at: firstPosition + row)) }
    }

    private func sample(at position: Int) -> Int {
        let sample = if let order { order.sample(at: position) } else { position }
        precondition(sample >= 0 && sample < sampleCount, "position outside the split")
        return sample
    }
}

/// The part of `count` consecutive items that falls to a rank, [⌊r·n/p⌋, ⌊(r+1)·n/p⌋): the parts are disjoint, cover all
/// items and differ by at most one.
public func rankShare(of count: Int, rank: Int, ranks: Int) -> Range<Int> {
    precondition(ranks > 0 && rank >= 0 && rank < ranks && count >= 0, "no such rank")
    return rank * count / ranks..<(rank + 1) * count / ranks
}
