import Configs
import Corpus
import Kernels
import Transformer

/// The buffers through which a rank's micro-batches pass, in training and evaluation.
package final class BatchBuffers {
    private let length: Int
    private let masking: TokenMasking?
    /// `[microBatch, length]` each.
    private let inputs: AlignedBuffer<Int32>
    private let targets: AlignedBuffer<Int32>
    /// What a model takes for most likely where there is a target, `[microBatch, length]`; empty unless the data is pairs.
    private let predicted: AlignedBuffer<Int32>
    /// Of the sequences without their padding, `[microBatch]`; empty unless the data is packed by documents.
    private let lengths: AlignedBuffer<Int32>
    /// Tokens of a source; 0 where there are none. `[microBatch, sourceLength]` and `[microBatch]`.
    private let sourceLength: Int
    private let sources: AlignedBuffer<Int32>
    private let sourceLengths: AlignedBuffer<Int32>

    var bytes: Int {
        inputs.bytes + targets.bytes + predicted.bytes + lengths.bytes + sources.bytes + sourceLengths.bytes
    }

    /// Where predictions of pairs go; nil for other data.
    var predictions: UnsafeMutablePointer<Int32>? { predicted.count > 0 ? predicted.base : nil }

    package init(_ config: RunConfig, microBatch: Int) throws {
        length = config.model.contextLength
        masking = TokenMasking(config)
        inputs = try AlignedBuffer(count: microBatch * length)
        targets = try AlignedBuffer(count: microBatch * length)
        predicted = try AlignedBuffer(count: config.data.task.hasPairs ? microBatch * length : 0)
        lengths = try AlignedBuffer(count: config.data.packing == .documents ? microBatch : 0)
        sourceLength = config.model.sourceLength
        sources = try AlignedBuffer(count: microBatch * sourceLength)
        sourceLengths = try AlignedBuffer(count: sourceLength > 0 ? microBatch : 0)
    }

    /// Copies the samples at positions `firstPosition ..< firstPosition + sequences` of `source`; valid until the next
    /// call. For an encoder, tokens are masked. `firstSequence` is their place in the step's global batch.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the corpus cannot be read.
    func load(
        _ source: BatchSource, firstPosition: Int, sequences: Int, firstSequence: Int = 0
    ) throws -> TokenBatch {
        guard sourceLength == 0 else {
            return try loadPairs(
                source, firstPosition: firstPosition, sequences: sequences, firstSequence: firstSequence)
        }
        let lengths = lengths.count > 0 ? lengths.base : nil
        try source.fill(
            inputs: inputs.base, targets: targets.base, lengths: lengths, firstPosition: firstPosition,
            sequences: sequences)
        if let masking {
            for sequence in 0..<sequences {
                masking.apply(
                    inputs: inputs.base + sequence * length, targets: targets.base + sequence * length,
                    length: lengths.map { Int($0[sequence]) } ?? length, position: firstPosition + sequence)
            }
        }
        return TokenBatch(
            inputs: inputs.base, targets: targets.base, sequences: sequences, length: length,
            lengths: lengths.map { UnsafePointer($0) }, firstSequence: firstSequence)
    }

    private func loadPairs(
        _ source: BatchSource, firstPosition: Int, sequences: Int, firstSequence: Int
    ) throws -> TokenBatch {
        try source.fill(
            PairBatch(
                sources: sources.base, sourceLengths: sourceLengths.base, decoderInputs: inputs.base,
                targets: targets.base, sourceLength: sourceLength, targetLength: length),
            firstPosition: firstPosition, sequences: sequences)
        return TokenBatch(
            inputs: inputs.base, targets: targets.base, sequences: sequences, length: length,
            source: TokenBatch.Source(
                tokens: sources.base, length: sourceLength, lengths: sourceLengths.base),
            firstSequence: firstSequence)
    }
}
