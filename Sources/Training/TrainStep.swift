import Configs
import Corpus
import Kernels
import Ledger
import MessagePassing
import Transformer

/// What a step came to, the same on every rank.
package struct StepResult {
    /// Mean over the global batch's target tokens, in nats.
    var loss: Double
    /// Target tokens of the global batch.
    var tokens: Int
    /// Those of this rank.
    var rankTokens: Int
    /// FLOPs of this rank's matrix products.
    var matmulFLOPs: Int
    /// Payload that this rank handed to reductions, in bytes.
    var sentBytes: Int
    /// Norm of the mean gradient, before clipping.
    var gradientNorm: Double
    var learningRate: Double
}

/// One optimizer step of one rank. All its memory exists before the first step.
package final class TrainStep {
    let decoder: Decoder
    private let seed: UInt64
    private let globalBatch: Int
    private let numMicroBatches: Int
    private let samples: BatchSource
    private let buffers: BatchBuffers
    /// This rank's first sequence within every global batch.
    private let firstSequence: Int
    private let update: ParameterUpdate
    private var reduction: GradientReduction
    /// Loss and number of target tokens of this rank, summed over all ranks in place.
    private let totals: AlignedBuffer<Double>

    /// Sizes of this rank's arenas as allocated; what the kernel says is left zero.
    var memory: StepSample.Bytes {
        var bytes = StepSample.Bytes()
        (bytes.parameters, bytes.gradients, bytes.activations, bytes.workspace) = decoder.arenaBytes
        bytes.optimizer = update.stateBytes
        bytes.communication = totals.bytes
        bytes.data = buffers.bytes
        return bytes
    }

    /// Allocates the optimizer's state. `decoder` has its parameters already.
    package init(
        config: RunConfig, decoder: Decoder, samples: BatchSource, buffers: BatchBuffers, rank: Int,
        ranks: Int
    ) throws {
        self.decoder = decoder
        self.samples = samples
        self.buffers = buffers
        seed = config.train.seed
        globalBatch = config.train.globalBatch
        let sequencesPerRank = globalBatch / ranks
        numMicroBatches = sequencesPerRank / decoder.microBatch
        firstSequence = rank * sequencesPerRank
        update = try ParameterUpdate(config.train, decoder: decoder)
        totals = try AlignedBuffer(count: 2)
        reduction = GradientReduction(
            gradients: decoder.gradients, bucketBytes: config.parallel.bucketMib << 20,
            overlaps: config.parallel.overlap)
    }

    /// Takes step `step`, counted from 1, and meters its phases. Collective; only gradients and loss travel on
    /// `communicator`. Throws on every rank, with the parameters untouched, when loss or gradient are not finite.
    package func run(
        _ step: Int, on communicator: borrowing Communicator, clock: inout PhaseClock
    ) throws -> StepResult {
        let dropout = DropoutSeed(seed: seed, step: step)
        let isAlone = communicator.size == 1
        let (flopsBefore, sentBefore) = (decoder.matmul.flops, communicator.payloadBytes)
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        clock.enter(.backward)
        Reductions.fill(decoder.gradients, with: 0)
        for index in 0..<numMicroBatches {
            clock.enter(.data)
            let batch = loadMicroBatch(index, step: step)
            clock.enter(.forward)
            decoder.forward(batch, dropout: dropout)
            clock.enter(.backward)
            let reduces = index == numMicroBatches - 1 && !isAlone
            sum += try decoder.backward(batch, dropout: dropout) { offset in
                if reduces { try reduction.advance(from: offset, on: communicator) }
            }
        }
        clock.enter(.reduceExposed)
        if !isAlone { try reduction.finish(on: communicator) }
        let (loss, tokens) = try reduceTotals(sum, on: communicator)
        clock.enter(.optimizer)
        let (gradientNorm, learningRate) = try update.apply(step: step, loss: loss, tokens: tokens)
        return StepResult(
            loss: loss, tokens: tokens, rankTokens: sum.tokens,
            matmulFLOPs: decoder.matmul.flops - flopsBefore,
            sentBytes: communicator.payloadBytes - sentBefore, gradientNorm: gradientNorm,
            learningRate: learningRate)
    }

    private func loadMicroBatch(_ index: Int, step: Int) -> TokenBatch {
        let sequence = firstSequence + index * decoder.microBatch
        return buffers.load(
            samples, firstPosition: (step - 1) * globalBatch + sequence, sequences: decoder.microBatch,
            firstSequence: sequence)
    }

    /// Mean loss and number of tokens over all ranks.
    private func reduceTotals(
        _ sum: CrossEntropy.Sum, on communicator: borrowing Communicator
    ) throws -> (loss: Double, tokens: Int) {
        totals.base[0] = sum.loss
        totals.base[1] = Double(sum.tokens)
        if communicator.size > 1 {
            try communicator.allreduce(
                inPlace: UnsafeMutableBufferPointer(start: totals.base, count: totals.count), .sum)
        }
        let tokens = max(1, totals.base[1])
        return (totals.base[0] / tokens, Int(tokens))
    }
}
