import Configs
import Corpus
import Kernels
import Ledger
import MessagePassing
import Transformer

/// What a step came to, the same on every rank.
package struct StepResult {
    /// Mean over the global batch's target tokens, in nats.
    package var loss: Double
    /// Target tokens of the global batch.
    var tokens: Int
    /// Those of this rank.
    var rankTokens: Int
    /// FLOPs of this rank's matrix products.
    var matmulFLOPs: Int
    /// What this rank sent to others, in bytes.
    package var sentBytes: Int
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
    private let topology: Topology
    private let update: ParameterUpdate
    private var reduction: BucketedCollective
    /// Whether each rank updates a share of the parameters (ZeRO-1), which are gathered behind the update.
    private let isSharded: Bool
    private var gathering: BucketedCollective
    private let overlaps: Bool
    private let totals: StepTotals

    /// Sizes of this rank's arenas as allocated; what the kernel says is left zero.
    package var memory: StepSample.Bytes {
        var bytes = StepSample.Bytes()
        (bytes.parameters, bytes.gradients, bytes.activations, bytes.workspace) = decoder.arenaBytes
        bytes.optimizer = update.stateBytes
        bytes.communication = totals.bytes + reduction.scratchBytes + gathering.scratchBytes
        bytes.data = buffers.bytes
        return bytes
    }

    /// Allocates the optimizer's state and what reductions need. `decoder` has its parameters already.
    package init(
        config: RunConfig, decoder: Decoder, samples: BatchSource, buffers: BatchBuffers, topology: Topology
    ) throws {
        self.decoder = decoder
        self.samples = samples
        self.buffers = buffers
        self.topology = topology
        seed = config.train.seed
        globalBatch = config.train.globalBatch
        let ranks = topology.all.size
        let sequencesPerRank = globalBatch / ranks
        numMicroBatches = sequencesPerRank / decoder.microBatch
        firstSequence = topology.all.rank * sequencesPerRank
        isSharded = config.parallel.optimizerSharding && ranks > 1
        overlaps = config.parallel.overlap && ranks > 1
        let bucketBytes = config.parallel.bucketMib << 20
        let buckets = Buckets(elements: decoder.layout.count, bytes: bucketBytes, over: topology)
        update = try ParameterUpdate(
            config.train, decoder: decoder,
            shard: isSharded ? ParameterShard(of: buckets) : ParameterShard(whole: decoder.layout.count))
        reduction = try BucketedCollective(
            isSharded ? .reduceScatter : .allreduce, decoder.gradients, bucketBytes: bucketBytes,
            over: topology)
        gathering = try BucketedCollective(
            .allgather, decoder.parameters, bucketBytes: bucketBytes, over: topology)
        totals = try StepTotals(remainder: decoder.gradients.slice(buckets.remainder), isSharded: isSharded)
    }

    /// Takes step `step`, counted from 1, and meters its phases. Collective. Throws on every rank, with the parameters
    /// untouched, when loss or gradient are not finite.
    package func run(_ step: Int, clock: inout PhaseClock) throws -> StepResult {
        let (flopsBefore, sentBefore) = (decoder.matmul.flops, topology.sentBytes)
        let sum = try accumulateGradients(step, &clock)
        try awaitRanks(&clock)
        let (loss, tokens) = try reduce(sum, &clock)
        clock.enter(.optimizer)
        let ownedSquares = try reduceSquares(&clock)
        let (gradientNorm, learningRate) = try update.apply(
            step: step, loss: loss, tokens: tokens, ownedSquares: ownedSquares)
        try gatherParameters(&clock)
        return StepResult(
            loss: loss, tokens: tokens, rankTokens: sum.tokens,
            matmulFLOPs: decoder.matmul.flops - flopsBefore, sentBytes: topology.sentBytes - sentBefore,
            gradientNorm: gradientNorm, learningRate: learningRate)
    }

    /// Forward and backward of every micro-batch; during the last one, buckets travel as they are filled.
    private func accumulateGradients(_ step: Int, _ clock: inout PhaseClock) throws -> CrossEntropy.Sum {
        let dropout = DropoutSeed(seed: seed, step: step)
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        clock.enter(.backward)
        decoder.refreshWeights()
        Reductions.fill(decoder.gradients, with: 0, on: decoder.team)
        for index in 0..<numMicroBatches {
            clock.enter(.data)
            let batch = loadMicroBatch(index, step: step)
            clock.enter(.forward)
            decoder.forward(batch, dropout: dropout)
            clock.enter(.backward)
            let reduces = index == numMicroBatches - 1 && overlaps
            sum += try decoder.backward(batch, dropout: dropout) { offset in
                guard reduces else { return }
                clock.enter(.reduceOverlapped)
                try reduction.advance(from: offset)
                clock.enter(.backward)
            }
        }
        return sum
    }

    private func loadMicroBatch(_ index: Int, step: Int) -> TokenBatch {
        let sequence = firstSequence + index * decoder.microBatch
        return buffers.load(
            samples, firstPosition: (step - 1) * globalBatch + sequence, sequences: decoder.microBatch,
            firstSequence: sequence)
    }

    /// Waits for the slowest rank, so that its delay is not taken for transfer.
    private func awaitRanks(_ clock: inout PhaseClock) throws {
        guard topology.all.size > 1 else { return }
        clock.enter(.wait)
        try topology.all.barrier()
    }

    /// Sums the gradients over all ranks, of a sharded optimizer those that the rank owns; the mean loss, and the number
    /// of tokens.
    private func reduce(
        _ sum: CrossEntropy.Sum, _ clock: inout PhaseClock
    ) throws -> (loss: Double, tokens: Int) {
        if topology.all.size > 1 {
            clock.enter(.reduceExposed)
            try reduction.finish()
        }
        return try totals.reduce(sum, on: topology.all)
    }

    /// Sum over all ranks of the squared gradients that each owns alone.
    private func reduceSquares(_ clock: inout PhaseClock) throws -> Double {
        guard isSharded else { return 0 }
        let squares = update.ownedSquares()
        try awaitRanks(&clock)
        clock.enter(.reduceExposed)
        let sum = try totals.reduce(squares: squares, on: topology.all)
        clock.enter(.optimizer)
        return sum
    }

    private func gatherParameters(_ clock: inout PhaseClock) throws {
        guard isSharded else { return }
        try awaitRanks(&clock)
        clock.enter(.reduceExposed)
        try gathering.finish()
    }
}
