import Configs
import Kernels

/// A Transformer, its parameters and gradients, and the memory that it computes in: a decoder as GPT-2 (Radford et al. 2019)
/// or of Llama's kind (Touvron et al. 2023), an encoder as BERT (Devlin et al. 2019), or an encoder and a decoder that looks
/// at its output (Vaswani et al. 2017). All memory is planned in the initializer; passes allocate nothing.
public final class LanguageModel {
    public enum Purpose: Sendable {
        case training, inference
        /// To hold parameters, without memory for passes of its own.
        case parameters
    }

    public let config: ModelConfig
    /// Names and places of the parameters.
    public let layout: ParameterLayout
    /// What the activation and workspace arenas hold. Activations that are kept in 16 bits are in an arena of their own.
    public let activationPlan: ArenaPlan
    public let halfPlan: ArenaPlan
    public let workspacePlan: ArenaPlan
    /// Largest number of sequences of a pass.
    public let microBatch: Int
    /// The threads that passes are split over.
    public let team: ThreadTeam
    /// The matrix products, with their count of FLOPs.
    public let matmul: MatMul

    /// Parameters, and from `gradientOffset` on the gradients.
    private let parameterArena: AlignedBuffer<Float>
    private let gradientOffset: Int
    private let hasGradients: Bool
    private let isShared: Bool
    private let activationArena: AlignedBuffer<Float>
    private let halfArena: AlignedBuffer<UInt16>
    private let format: HalfFormat?
    private let blocks: KeptBlocks?
    private let workspaceArena: AlignedBuffer<Float>
    /// Weights as tiles, empty where they are not kept; operands of a product on their way there; and keys and values of heads.
    /// All are empty where products are not done in tiles.
    private let packedArena: AlignedBuffer<UInt8>
    private let packingArena: AlignedBuffer<UInt8>
    private let headArena: AlignedBuffer<UInt8>
    private let weights: Weights
    private let weightSlots: [WeightSlot]
    /// Parameters whose gradients are only ever added to.
    private let added: [Range<Int>]

    /// Of an encoder–decoder, with the gradient of its output `[u, h]` in the workspace.
    private let encoder: (stack: Stack, gradient: Slot)?
    /// The stack in front of the head.
    private let stack: Stack
    private let transform: HeadTransform?
    private let head: LanguageModelHead

    /// Plans and allocates a model for passes of at most `microBatch` sequences. Parameters are zero until `initialize`
    /// or until they are loaded. Throws `AllocationError`.
    ///
    /// - Parameters:
    ///   - backend: for products in fp32.
    ///   - team: the threads that passes are split over.
    ///   - isShared: whether other ranks read parameters and gradients, which then lie in huge pages to their end: what
    ///     is read across processes is read page by page.
    ///   - tiles: how products are done in tiles; nil leaves them all to `backend`.
    ///   - activations: the format in which activations are kept from forward to backward, whose rounded numbers both see; nil
    ///     is fp32. Sums, statistics and gradients are in fp32.
    public init(
        config: ModelConfig, microBatch: Int, purpose: Purpose, backend: any MatMulBackend,
        isShared: Bool = false, team: ThreadTeam = .alone, tiles: TileMode? = nil,
        activations format: HalfFormat? = nil
    ) throws {
        self.config = config
        self.microBatch = microBatch
        self.team = team

        var plan = ModelPlan(
            model: config, sequences: microBatch, threads: team.count, tiles: tiles?.precision,
            format: format)
        let width = config.dModel
        let rows = microBatch * max(config.contextLength, config.sourceLength)
        let stream = plan.workspace.reserve("stream.gradient", rows: rows, columns: width)
        let branch = BranchScratch(rows: rows, plan: &plan)
        if config.family == .encoderDecoder {
            let shared = config.shareEmbeddings ? EmbeddingLayer.addTokens("", &plan) : nil
            let gradient = plan.workspace.reserve(
                "encoder.output.gradient", rows: plan.sourceTokens, columns: width)
            let source = Stack("encoder.", tokens: shared, stream: stream, branch: branch, plan: &plan)
            encoder = (source, gradient)
            plan.beginDecoder(ModelPlan.Memory(output: source.output, gradient: gradient))
            stack = Stack("decoder.", tokens: shared, stream: stream, branch: branch, plan: &plan)
        } else {
            encoder = nil
            stack = Stack("", tokens: nil, stream: stream, branch: branch, plan: &plan)
        }
        transform = config.headTransform ? HeadTransform("head", plan: &plan) : nil
        head = LanguageModelHead(tiedTo: config.tieEmbeddings ? stack.embedding.tokens : nil, plan: &plan)

        layout = plan.parameters
        activationPlan = plan.activations
        halfPlan = plan.halves
        self.format = format
        blocks = plan.blocks
        workspacePlan = plan.workspace
        hasGradients = purpose == .training
        self.isShared = isShared
        // Both begin at a line of the caches.
        gradientOffset = hasGradients ? (layout.count + 15) / 16 * 16 : layout.count
        parameterArena = try AlignedBuffer(
            count: hasGradients ? 2 * gradientOffset : layout.count, inHugePages: isShared)
        activationArena = try AlignedBuffer(count: purpose == .parameters ? 0 : activationPlan.count)
        halfArena = try AlignedBuffer(count: purpose == .parameters ? 0 : halfPlan.count)
        workspaceArena = try AlignedBuffer(count: purpose == .parameters ? 0 : workspacePlan.count)
        let packing = try AlignedBuffer<UInt8>(count: team.count * plan.packingBytes)
        let keepsPacked = plan.packedBytes <= PackedWeight.mostBytesOfModel
        packedArena = try AlignedBuffer(count: keepsPacked ? plan.packedBytes : 0)
        matmul = MatMul(
            backend: tiles.map {
                TileMatMul(
                    precision: $0.precision, instructions: $0.instructions, workspace: packing.vector,
                    small: backend)
            } ?? backend, team: team)
        packingArena = packing
        headArena = try AlignedBuffer(count: purpose == .parameters ? 0 : team.count * plan.headBytes)
        weights = Weights(
            parameters: parameterArena.vector.slice(0..<layout.count), packed: packedArena.vector,
            precision: keepsPacked ? tiles?.precision : nil)
        weightSlots = keepsPacked ? plan.weights : []
        added = layout.gaps(between: plan.multiplied)
        if purpose != .parameters { plan.positionTable?.fill(in: workspaceArena.vector) }
    }

    /// All parameters, in the order of `layout`.
    public var parameters: Vector { parameterArena.vector.slice(0..<layout.count) }
    /// All gradients, in the order of `layout`; empty for inference.
    public var gradients: Vector {
        parameterArena.vector.slice(gradientOffset..<gradientOffset + (hasGradients ? layout.count : 0))
    }
    /// Sizes of the arenas in bytes, as allocated.
    public var arenaBytes: (parameters: Int, gradients: Int, activations: Int, workspace: Int) {
        (
            4 * parameters.count, 4 * gradients.count, activationArena.bytes + halfArena.bytes,
            workspaceArena.bytes + packingArena.bytes + packedArena.bytes + headArena.bytes
        )
    }

    /// What parameters and gradients take beyond their size, in memory that other ranks read.
    public var sharedPaddingBytes: Int {
        isShared ? parameterArena.mapped - 4 * (parameters.count + gradients.count) : 0
    }

    /// Fills the parameters with their starting values: a function of `seed` and the tensor's place in the table.
    public func initialize(seed: UInt64) {
        for (index, tensor) in layout.tensors.enumerated() {
            let values = parameters.slice(tensor.range)
            switch tensor.initialization {
            case .zeros: Reductions.fill(values, with: 0)
            case .ones: Reductions.fill(values, with: 1)
            case .normal(let deviation):
                RandomNormal.fill(values, standardDeviation: deviation, seed: seed, stream: index)
            }
        }
    }

    /// Makes passes see parameters that have changed: to be called after every change and before the next pass.
    public func refreshWeights() {
        for slot in weightSlots { matmul.pack(weights[slot]) }
    }

    // MARK: Training: forward, then backward

    /// Keeps what `backward` needs of `batch`. With `dropout` nil nothing is dropped.
    public func forward(_ batch: TokenBatch, dropout: DropoutSeed? = nil) {
        let pass = makePass(batch, dropout)
        if let encoder { encoder.stack.forward(sourcePass(pass)) }
        stack.forward(pass)
        transform?.forward(pass, stackOutput(pass))
    }

    /// Loss of the batch that `forward` took last, and its gradients: the sum over target tokens, not divided, is added
    /// to `gradients`, or replaces them when not accumulating; the first product that gives a weight's does so, which
    /// spares memory two passes. As backward comes down the layers, `ready(n)` says that `gradients` from element n on are
    /// complete; the last call is `ready(0)`. It comes again and again with the same n while a layer is under way, so that
    /// the caller can look after other work.
    ///
    /// - Parameter labelSmoothing: share of a target's weight that all of the vocabulary has alike (Szegedy et al. 2016), as
    ///   in `torch.nn.CrossEntropyLoss`; the loss is the one that has it.
    /// - Parameter scale: by which gradients are multiplied, and the loss that is returned is not: so that what is kept of them
    ///   in fp16 is not too small for it.
    public func backward(
        _ batch: TokenBatch, dropout: DropoutSeed? = nil, labelSmoothing: Double = 0, scale: Float = 1,
        accumulate: Bool = true, ready: (Int) throws -> Void
    ) rethrows -> CrossEntropy.Sum {
        precondition(hasGradients, "this model was made for inference")
        if !accumulate {
            for range in added { Reductions.fill(self.gradients.slice(range), with: 0, on: team) }
        }
        let pass = makePass(batch, dropout, accumulates: accumulate)
        let gradients = stack.gradients(pass)
        let sum = head.lossAndGradient(
            pass, headInput(pass), labelSmoothing: labelSmoothing, scale: scale, into: gradients.output)
        transform?.backward(
            pass, gradient: gradients.output, scratch: gradients.free, x: stackOutput(pass))
        if let encoder {
            // All layers of the decoder add to it.
            let dMemory = pass.sourceRows(pass.scratch(encoder.gradient))
            Reductions.fill(dMemory.vector, with: 0, on: team)
            try stack.backward(pass, gradient: gradients.output, ready: ready)
            try ready(stack.firstParameter)
            try encoder.stack.backward(sourcePass(pass), gradient: dMemory, ready: ready)
        } else {
            try stack.backward(pass, gradient: gradients.output, ready: ready)
        }
        try ready(0)
        return sum
    }

    // MARK: Inference

    /// Sum of the losses of `batch`, without gradients, dropout or label smoothing. Where there is a target, `predictions`
    /// `[sequences, length]` get the most likely token.
    public func loss(
        _ batch: TokenBatch, predictions: UnsafeMutablePointer<Int32>? = nil
    ) -> CrossEntropy.Sum {
        forward(batch)
        let pass = makePass(batch, nil)
        return head.loss(pass, headInput(pass), predictions: predictions)
    }

    /// Logits `[rows.count, V]` of tokens `rows` (at most `ModelConfig.logitsBlockRows`) of the batch that `forward` took
    /// last; valid until the next pass.
    public func logits(_ batch: TokenBatch, rows: Range<Int>) -> Matrix {
        let pass = makePass(batch, nil)
        return head.logits(pass, headInput(pass).rows(rows))
    }

    /// What the head takes.
    private func headInput(_ pass: Pass) -> StoredMatrix {
        transform.map { pass.kept($0.output) } ?? stackOutput(pass)
    }

    /// What comes out of the blocks and the final norm.
    private func stackOutput(_ pass: Pass) -> StoredMatrix { pass.kept(stack.output) }

    /// The encoder's part of a pass.
    private func sourcePass(_ pass: Pass) -> Pass {
        makePass(
            pass.source, pass.dropout, accumulates: pass.accumulates, longest: config.sourceLength)
    }

    private func makePass(
        _ batch: TokenBatch, _ dropout: DropoutSeed?, accumulates: Bool = true
    ) -> Pass {
        precondition(
            (batch.source != nil) == (encoder != nil),
            "sources are for an encoder and a decoder, which need them")
        return makePass(batch, dropout, accumulates: accumulates, longest: config.contextLength)
    }

    private func makePass(
        _ batch: TokenBatch, _ dropout: DropoutSeed?, accumulates: Bool, longest: Int
    ) -> Pass {
        precondition(
            activationArena.count == activationPlan.count && halfArena.count == halfPlan.count,
            "this model was made to hold parameters")
        precondition(
            batch.sequences <= microBatch && batch.length <= longest,
            "\(batch.sequences) × \(batch.length) tokens; planned for \(microBatch) × \(longest)"
        )
        return Pass(
            parameters: parameters, gradients: gradients, accumulates: accumulates,
            activations: activationArena.vector, halves: halfArena.vector, format: format, blocks: blocks,
            workspace: workspaceArena.vector, weights: weights, packedHeads: headArena.vector, team: team,
            matmul: matmul, batch: batch, sourceBatch: batch.sourceBatch, dropout: dropout)
    }
}
