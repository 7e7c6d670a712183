import Configs
import Corpus
import Kernels
import Transformer

/// The one pair of buffers through which a rank's micro-batches pass, in training and evaluation.
package final class BatchBuffers {
    private let length: Int
    private let masking: TokenMasking?
    /// `[microBatch, length]` each.
    private let inputs: AlignedBuffer<Int32>
    private let targets: AlignedBuffer<Int32>

    var bytes: Int { inputs.bytes + targets.bytes }

    package init(_ config: RunConfig, microBatch: Int) throws {
        length = config.model.contextLength
        masking = TokenMasking(config)
        inputs = try AlignedBuffer(count: microBatch * length)
        targets = try AlignedBuffer(count: microBatch * length)
    }

    /// Copies the samples at positions `firstPosition ..< firstPosition + sequences` of `source`; valid until the next
    /// call. For an encoder, tokens are masked. `firstSequence` is their place in the step's global batch.
    func load(
        _ source: BatchSource, firstPosition: Int, sequences: Int, firstSequence: Int = 0
    ) -> TokenBatch {
        source.fill(
            inputs: inputs.base, targets: targets.base, firstPosition: firstPosition, sequences: sequences)
        if let masking {
            for sequence in 0..<sequences {
                masking.apply(
                    inputs: inputs.base + sequence * length, targets: targets.base + sequence * length,
                    length: length, position: firstPosition + sequence)
            }
        }
        return TokenBatch(
            inputs: inputs.base, targets: targets.base, sequences: sequences, length: length,
            firstSequence: firstSequence)
    }
}
