import Configs
import Corpus
import Kernels
import Ledger
import MessagePassing
import Transformer

/// What a step came to, the same on every rank.
package struct StepResult {
    /// Mean over the global batch's target tokens, in nats, with label smoothing.
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
    /// Why the update was left out; nil when it was not.
    package var skipped: LockstepError?
    /// What the loss scale became for that reason; nil when it was another.
    package var reducedLossScale: Float?
}

/// One optimizer step of one rank. All its memory exists before the first step.
package final class TrainStep {
    let network: LanguageModel
    private let seed: UInt64
    private let labelSmoothing: Double
    private let globalBatch: Int
    private let numMicroBatches: Int
    private let samples: BatchSource
    private let buffers: BatchBuffers
    /// This rank's first sequence within every global batch.
    private let firstSequence: Int
    private let topology: Topology
    private let update: ParameterUpdate
    private let onNonFinite: TrainConfig.NonFiniteAction
    /// For the next step; nil unless activations, and so some of their gradients, are in fp16.
    package var lossScale: LossScale?
    /// A power of two no less than the target tokens of a step: losses are sums over tokens, their scale is for the mean.
    private let tokensOfScale: Float
    /// nil in a reproducible run, which has the two below instead.
    private var reduction: BucketedCollective?
    private let tree: TreeReduction?
    private let partialSums: PartialSums?
    /// Whether each rank updates a share of the parameters (ZeRO-1), which are gathered behind the update.
    private let isSharded: Bool
    private var gathering: BucketedCollective?
    private let overlaps: Bool
    private let totals: StepTotals
    /// Samples of the training split's order that no step has taken or will take, because a run that went back to a
    /// checkpoint went on behind them.
    private var passedOver = 0

    /// Sizes of this rank's arenas as allocated; what the kernel says is left zero.
    package var memory: StepSample.Bytes {
        var bytes = StepSample.Bytes()
        (bytes.parameters, bytes.gradients, bytes.activations, bytes.workspace) = network.arenaBytes
        bytes.gradients += partialSums?.bytes ?? 0
        bytes.optimizer = update.stateBytes
        bytes.communication =
            totals.bytes + (reduction?.scratchBytes ?? 0) + (tree?.scratchBytes ?? 0)
            + network.sharedPaddingBytes
        bytes.data = buffers.bytes
        return bytes
    }

    /// The optimizer's state as this rank has it.
    var optimizerState: OptimizerState { update.storedState }
    /// What of it this rank saves: each parameter's is saved by one rank.
    var savedRanges: [Range<Int>] {
        let (rank, ranks) = (topology.all.rank, topology.all.size)
        guard isSharded else { return [rankShare(of: network.layout.count, rank: rank, ranks: ranks)] }
        return update.storedState.ranges.map(\.range).enumerated().compactMap { index, range in
            // The first is the remainder, which all ranks have.
            index > 0 || rank == 0 ? range : nil
        }
    }

    /// Allocates the optimizer's state and what reductions need. `network` has its parameters already.
    package init(
        config: RunConfig, network: LanguageModel, samples: BatchSource, buffers: BatchBuffers,
        topology: Topology
    ) throws {
        self.network = network
        self.samples = samples
        self.buffers = buffers
        self.topology = topology
        seed = config.train.seed
        labelSmoothing = config.train.labelSmoothing
        onNonFinite = config.train.onNonFinite
        lossScale = config.precision.activations == .fp16 ? LossScale() : nil
        let tokens = config.train.globalBatch * config.model.contextLength
        tokensOfScale = Float(
            sign: .plus, exponent: Int.bitWidth - (tokens - 1).leadingZeroBitCount, significand: 1)
        globalBatch = config.train.globalBatch
        let ranks = topology.all.size
        let sequencesPerRank = globalBatch / ranks
        numMicroBatches = sequencesPerRank / network.microBatch
        firstSequence = topology.all.rank * sequencesPerRank
        isSharded = config.parallel.optimizerSharding && ranks > 1
        let isReproducible = config.parallel.reproducible
        overlaps = config.parallel.overlap && !isReproducible && topology.hosts > 1
        let bucketBytes = config.parallel.bucketBytes(ranks: ranks)
        let buckets = Buckets(elements: network.layout.count, bytes: bucketBytes, over: topology)
        update = try ParameterUpdate(
            config.train, network: network,
            shard: isSharded ? ParameterShard(of: buckets) : ParameterShard(whole: network.layout.count))
        if isReproducible {
            reduction = nil
            tree = try TreeReduction(network.gradients, buckets, over: topology)
            partialSums = try PartialSums(
                of: network.gradients, leaves: numMicroBatches, team: network.team)
        } else {
            reduction = try BucketedCollective(
                isSharded ? .reduceScatter : .allreduce, network.gradients, bucketBytes: bucketBytes,
                over: topology)
            tree = nil
            partialSums = nil
        }
        gathering =
            isSharded
            ? try BucketedCollective(.allgather, network.parameters, bucketBytes: bucketBytes, over: topology)
            : nil
        totals = try StepTotals(
            remainder: network.gradients.slice(buckets.remainder), isSharded: isSharded,
            isTree: isReproducible,
            ranks: ranks)
    }

    /// What the sum of the tokens' losses is multiplied by.
    private var scaleOfSum: Float { lossScale.map { $0.scale / tokensOfScale } ?? 1 }

    /// Position in the training split's order of the first sample behind step `step`.
    func dataCursor(after step: Int) -> Int { passedOver + step * globalBatch }

    /// Step `step` was the last; the next one begins at position `dataCursor`.
    package func goOn(after step: Int, dataCursor: Int) { passedOver = dataCursor - step * globalBatch }

    /// Takes step `step`, counted from 1, and meters its phases. Collective. When loss or gradient are not finite,
    /// parameters and optimizer stay untouched. Where the loss scale may be why, it is reduced; otherwise
    /// `train.on_non_finite` decides whether every rank throws.
    ///
    /// - Parameters:
    ///   - atPauses: is called again and again during backward; its time is left out.
    ///   - beforeUpdate: is called when the gradients are there; parameters and optimizer do not change before.
    package func run(
        _ step: Int, clock: inout PhaseClock, atPauses: () -> Void = {},
        beforeUpdate: () throws -> Void = {}
    ) throws -> StepResult {
        let (flopsBefore, sentBefore) = (network.matmul.flops, topology.sentBytes)
        let sum = try accumulateGradients(step, &clock, atPauses)
        try awaitRanks(&clock)
        let (loss, tokens) = try reduce(sum, &clock)
        try clock.leaveOut(beforeUpdate)
        clock.enter(.optimizer)
        let ownedSquares = try reduceSquares(&clock)
        var result = StepResult(
            loss: loss, tokens: tokens, rankTokens: sum.tokens, matmulFLOPs: 0, sentBytes: 0,
            gradientNorm: .nan, learningRate: .nan)
        do {
            (result.gradientNorm, result.learningRate) = try update.apply(
                step: step, loss: loss, tokens: tokens, ownedSquares: ownedSquares,
                scale: scaleOfSum)
            lossScale?.grow()
        } catch let error as LockstepError where error.status == .nonFinite {
            // The loss itself is not scaled. All ranks have the same sums, and so come to the same scale.
            if loss.isFinite && lossScale?.backOff() == true {
                result.reducedLossScale = lossScale?.scale
            } else if onNonFinite != .skip {
                throw error
            }
            result.skipped = error
        }
        try gatherParameters(&clock)
        result.matmulFLOPs = network.matmul.flops - flopsBefore
        result.sentBytes = topology.sentBytes - sentBefore
        return result
    }

    /// Forward and backward of every micro-batch, whose gradients are summed. During the last one, buckets travel between
    /// hosts as they are filled.
    private func accumulateGradients(
        _ step: Int, _ clock: inout PhaseClock, _ atPauses: () -> Void
    ) throws -> CrossEntropy.Sum {
        clock.enter(.backward)
        network.refreshWeights()
        if tree != nil {
            return try accumulateInTree(0..<numMicroBatches, depth: 0, step, &clock, atPauses)
        }
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        for index in 0..<numMicroBatches {
            sum += try gradients(
                index, step, accumulate: index > 0, reduces: index == numMicroBatches - 1 && overlaps, &clock,
                atPauses)
        }
        return sum
    }

    /// The micro-batches `leaves`, each of which begins with no gradients: the first half, the second, and their sum.
    private func accumulateInTree(
        _ leaves: Range<Int>, depth: Int, _ step: Int, _ clock: inout PhaseClock, _ atPauses: () -> Void
    ) throws -> CrossEntropy.Sum {
        guard leaves.count > 1 else {
            return try gradients(
                leaves.lowerBound, step, accumulate: false, reduces: false, &clock, atPauses)
        }
        let middle = leaves.lowerBound + leaves.count / 2
        var sum = try accumulateInTree(
            leaves.lowerBound..<middle, depth: depth + 1, step, &clock, atPauses)
        partialSums?.keep(at: depth)
        sum += try accumulateInTree(
            middle..<leaves.upperBound, depth: depth + 1, step, &clock, atPauses)
        partialSums?.merge(at: depth)
        return sum
    }

    /// Of one micro-batch, added to those that are there or in their place.
    private func gradients(
        _ index: Int, _ step: Int, accumulate: Bool, reduces: Bool, _ clock: inout PhaseClock,
        _ atPauses: () -> Void
    ) throws -> CrossEntropy.Sum {
        let dropout = DropoutSeed(seed: seed, step: step)
        clock.enter(.data)
        let batch = try loadMicroBatch(index, step: step)
        clock.enter(.forward)
        network.forward(batch, dropout: dropout)
        clock.enter(.backward)
        return try network.backward(
            batch, dropout: dropout, labelSmoothing: labelSmoothing, scale: scaleOfSum,
            accumulate: accumulate
        ) { offset in
            clock.leaveOut(atPauses)
            if reduces {
                clock.enter(.reduceOverlapped)
                try reduction?.advance(from: offset)
            }
            clock.enter(.backward)
        }
    }

    private func loadMicroBatch(_ index: Int, step: Int) throws -> TokenBatch {
        let sequence = firstSequence + index * network.microBatch
        return try buffers.load(
            samples, firstPosition: dataCursor(after: step - 1) + sequence, sequences: network.microBatch,
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
            try reduction?.finish()
            try tree?.run()
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
        try gathering?.finish()
    }
}
