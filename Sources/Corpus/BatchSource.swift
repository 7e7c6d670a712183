import Foundation

/// Batches from one split of the corpus, of a text, of documents or of pairs.
///
/// A sample of documents is one of them or, when it is longer than s = `contextLength`, a part of one: its inputs are all its
/// tokens, its targets the tokens that follow them, and the rest of the row is padding without a loss.
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
    /// One of them unless the split is a text without gaps.
    private let pairs: PairShard?
    private let documents: DocumentShard?
    private let order: SampleOrder?

    /// - Parameter tokens: the split's part of the shard, at least `contextLength` + 1 tokens.
    public init(shard: TokenShard, tokens: Range<Int>, contextLength: Int, order: Order) {
        precondition(tokens.lowerBound >= 0 && tokens.upperBound <= shard.count, "split outside the shard")
        precondition(contextLength > 0 && tokens.count > contextLength, "split without a whole sample")
        self.shard = shard
        self.contextLength = contextLength
        self.tokens = tokens
        sampleCount = (tokens.count - 1) / contextLength
        (pairs, documents) = (nil, nil)
        self.order = Self.order(order, count: sampleCount)
    }

    /// - Parameter pairs: none longer than `contextLength` + 1 with separator and end.
    init(pairs: PairShard, contextLength: Int, order: Order) {
        (self.pairs, documents) = (pairs, nil)
        self.contextLength = contextLength
        shard = pairs.tokens
        tokens = 0..<pairs.tokens.count
        sampleCount = pairs.count
        self.order = Self.order(order, count: sampleCount)
    }

    /// - Parameter documents: none with more inputs than `contextLength`.
    init(documents: DocumentShard, contextLength: Int, order: Order) {
        (pairs, self.documents) = (nil, documents)
        self.contextLength = contextLength
        shard = documents.tokens
        tokens = 0..<documents.tokens.count
        sampleCount = documents.count
        self.order = Self.order(order, count: sampleCount)
    }

    private static func order(_ order: Order, count: Int) -> SampleOrder? {
        switch order {
        case .shuffled(let seed): SampleOrder(seed: seed, count: count)
        case .sequential: nil
        }
    }

    /// Tokens of the split that batches have; a pair or document takes a whole sequence.
    public var tokenCount: Int {
        pairs == nil && documents == nil ? tokens.count : sampleCount * contextLength
    }

    /// Reads all tokens and checks that they are in the vocabulary.
    ///
    /// - Throws: as `TokenShard.validate`.
    public func validate(vocabSize: Int) throws { try shard.validate(vocabSize: vocabSize, in: tokens) }

    /// Mean bytes of a target of the split's samples, read from all of them; nil when one is not of the tokenizer.
    /// There is none for pairs.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the corpus cannot be read.
    public func bytesPerTarget(_ tokenizer: any Tokenizer) throws -> Double? {
        guard pairs == nil else { return nil }
        var (bytes, targets) = (0, 0)
        var scan = shard.scan()
        for range in try targetRanges() {
            for position in range {
                guard let count = try tokenizer.byteCount(of: scan.token(at: position)) else { return nil }
                bytes += count
            }
            targets += range.count
        }
        return Double(bytes) / Double(targets)
    }

    /// Entropy of the frequencies of the split's target tokens, in nats; reads all of them.
    ///
    /// - Parameter vocabSize: what all tokens are below.
    /// - Throws: `LockstepError(.inputOutput)` when the corpus cannot be read.
    public func targetEntropy(vocabSize: Int) throws -> Double {
        var counts = [Int](repeating: 0, count: vocabSize)
        var scan = shard.scan()
        for range in try targetRanges() {
            for position in range { counts[try scan.token(at: position)] += 1 }
        }
        let total = Double(counts.reduce(0, +))
        return counts.reduce(0) { sum, count in
            count == 0 ? sum : sum - Double(count) / total * log(Double(count) / total)
        }
    }

    /// Where the targets of all samples are in the shard.
    private func targetRanges() throws -> [Range<Int>] {
        if let documents {
            return try (0..<documents.count).map { number in
                let inputs = try documents.range(of: number)
                return inputs.lowerBound + 1..<inputs.upperBound + 1
            }
        }
        guard let pairs else {
            return [tokens.lowerBound + 1..<tokens.lowerBound + 1 + sampleCount * contextLength]
        }
        return try (0..<pairs.count).map { number in
            let target = try pairs.ranges(of: number).target
            // The end token stands behind the target.
            return target.lowerBound..<target.upperBound + 1
        }
    }

    /// Copies the samples at positions `firstPosition ..< firstPosition + sequences`; allocates nothing.
    ///
    /// - Parameters:
    ///   - inputs: [sequences, s]
    ///   - targets: [sequences, s]
    ///   - lengths: [sequences], inputs of each before its padding, if it is a document; otherwise untouched.
    /// - Throws: `LockstepError(.inputOutput)` when the corpus cannot be read.
    public func fill(
        inputs: UnsafeMutablePointer<Int32>, targets: UnsafeMutablePointer<Int32>,
        lengths: UnsafeMutablePointer<Int32>? = nil, firstPosition: Int, sequences: Int
    ) throws {
        for sequence in 0..<sequences {
            let sample = self.sample(at: firstPosition + sequence)
            let offset = sequence * contextLength
            if let pairs {
                try pairs.fillSequence(
                    sample, inputs: inputs + offset, targets: targets + offset, length: contextLength)
                continue
            }
            if let documents {
                let length = try documents.fill(
                    sample, inputs: inputs + offset, targets: targets + offset, length: contextLength)
                lengths?[sequence] = Int32(length)
                continue
            }
            let first = tokens.lowerBound + sample * contextLength
            try shard.copy(first..<first + contextLength, to: inputs + offset)
            try shard.copy(first + 1..<first + 1 + contextLength, to: targets + offset)
        }
    }

    /// Writes the pairs at positions `firstPosition ..< firstPosition + sequences` as an encoder–decoder takes them;
    /// allocates nothing. Only for pairs.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the corpus cannot be read.
    public func fill(_ batch: PairBatch, firstPosition: Int, sequences: Int) throws {
        guard let pairs else { preconditionFailure("a text has no pairs") }
        for row in 0..<sequences { try pairs.fill(batch, row: row, with: sample(at: firstPosition + row)) }
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
