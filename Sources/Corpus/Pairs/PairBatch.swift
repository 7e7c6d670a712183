/// A batch of pairs as an encoder–decoder takes it; a decoder takes pairs from a `BatchSource`.
///
/// Source and target are each followed by the shard's end token. Row i of the decoder's inputs is the end token, which also
/// starts a target, and the target of pair i; row i of its targets is the target and the end token.
public struct PairBatch {
    /// Marks a place without a loss; `CrossEntropy.ignoredTarget`.
    public static let noTarget: Int32 = -1

    /// [sequences, sourceLength], filled up with the end token.
    public let sources: UnsafeMutablePointer<Int32>
    /// [sequences], tokens of each source with its end token; what is behind them is to be masked.
    public let sourceLengths: UnsafeMutablePointer<Int32>
    /// [sequences, targetLength], filled up with the end token.
    public let decoderInputs: UnsafeMutablePointer<Int32>
    /// [sequences, targetLength], filled up with `noTarget`.
    public let targets: UnsafeMutablePointer<Int32>
    public let sourceLength: Int
    public let targetLength: Int

    public init(
        sources: UnsafeMutablePointer<Int32>, sourceLengths: UnsafeMutablePointer<Int32>,
        decoderInputs: UnsafeMutablePointer<Int32>, targets: UnsafeMutablePointer<Int32>, sourceLength: Int,
        targetLength: Int
    ) {
        self.sources = sources
        self.sourceLengths = sourceLengths
        self.decoderInputs = decoderInputs
        self.targets = targets
        self.sourceLength = sourceLength
        self.targetLength = targetLength
    }
}

extension PairShard {
    /// Writes pair `number` to a row of `batch`; allocates nothing. Source and target must each fit with the end token.
    func fill(_ batch: PairBatch, row: Int, with number: Int) throws {
        let (source, target) = try ranges(of: number)
        precondition(
            source.count < batch.sourceLength && target.count < batch.targetLength,
            "a pair longer than the batch")
        let sources = batch.sources + row * batch.sourceLength
        sources.update(repeating: end, count: batch.sourceLength)
        try tokens.copy(source, to: sources)
        batch.sourceLengths[row] = Int32(source.count + 1)

        let inputs = batch.decoderInputs + row * batch.targetLength
        inputs.update(repeating: end, count: batch.targetLength)
        try tokens.copy(target, to: inputs + 1)

        let targets = batch.targets + row * batch.targetLength
        targets.update(repeating: PairBatch.noTarget, count: batch.targetLength)
        // The end token stands behind the target.
        try tokens.copy(target.lowerBound..<target.upperBound + 1, to: targets)
    }
}
