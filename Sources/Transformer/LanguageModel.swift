import Configs
import Kernels

/// A Transformer of one stack of blocks, its parameters and gradients, and the memory that it computes in: a decoder as
/// GPT-2 (Radford et al. 2019) or of Llama's kind (Touvron et al. 2023), or an encoder as BERT (Devlin et al. 2019). All memory is planned in the initializer; passes allocate nothing.
public final class LanguageModel {
    public enum Purpose: Sendable {
        case training, inference
        /// To hold parameters, without memory for passes of its own.
        case parameters
    }

    public let config: ModelConfig
    /// Names and places of the parameters.
    public let layout: ParameterLayout
    /// What the activation and workspace arenas hold.
    public let activationPlan: ArenaPlan
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
    private let workspaceArena: AlignedBuffer<Float>
    /// Weights as tiles, and operands of a product on their way there; empty where products are not done in tiles.
    private let packedArena: AlignedBuffer<UInt8>
    private let packingArena: AlignedBuffer<UInt8>
    private let weights: Weights
    private let weightSlots: [WeightSlot]

    private let embedding: EmbeddingLayer
    private let embedded: Slot
    private let blocks: [Block]
    /// Norm behind the blocks, and its output.
    private let final: (norm: NormLayer, output: Slot)?
    private let transform: HeadTransform?
    /// Where the parameters behind the blocks begin.
    private let firstParameterBehindBlocks: Int
    private let head: LanguageModelHead
    /// Gradient of the residual stream, and of what a layer adds to it: `[t, h]` each.
    private let stream: Slot
    private let branch: Slot

    /// Plans and allocates a model for passes of at most `microBatch` sequences. Parameters are zero until `initialize`
    /// or until they are loaded. Throws `AllocationError`.
    ///
    /// - Parameters:
    ///   - backend: for products in fp32.
    ///   - team: the threads that passes are split over.
    ///   - isShared: whether other ranks read parameters and gradients, which then lie in huge pages to their end: what
    ///     is read across processes is read page by page.
    ///   - tiles: how products are done in tiles; nil leaves them all to `backend`.
    public init(
        config: ModelConfig, microBatch: Int, purpose: Purpose, backend: any MatMulBackend,
        isShared: Bool = false, team: ThreadTeam = .alone, tiles: TileMode? = nil
    ) throws {
        self.config = config
        self.microBatch = microBatch
        self.team = team

        var plan = ModelPlan(
            model: config, sequences: microBatch, threads: team.count, tiles: tiles?.precision)
        let (tokens, width) = (plan.tokens, config.dModel)
        let stream = plan.workspace.reserve("stream.gradient", rows: tokens, columns: width)
        let branch = plan.workspace.reserve("branch", rows: tokens, columns: width)
        (self.stream, self.branch) = (stream, branch)
        embedding = EmbeddingLayer(plan: &plan)
        embedded = plan.activations.reserve("embedded", rows: tokens, columns: width)
        blocks = (0..<config.numLayers).map { Block("layers.\($0)", branch: branch, plan: &plan) }
        firstParameterBehindBlocks = plan.parameters.count
        final =
            config.finalNorm
            ? (
                NormLayer("final_norm", plan: &plan),
                plan.activations.reserve("final_norm.output", rows: tokens, columns: width)
            ) : nil
        transform = config.headTransform ? HeadTransform("head", plan: &plan) : nil
        head = LanguageModelHead(tiedTo: config.tieEmbeddings ? embedding.tokens : nil, plan: &plan)

        layout = plan.parameters
        activationPlan = plan.activations
        workspacePlan = plan.workspace
        hasGradients = purpose == .training
        self.isShared = isShared
        // Both begin at a line of the caches.
        gradientOffset = hasGradients ? (layout.count + 15) / 16 * 16 : layout.count
        parameterArena = try AlignedBuffer(
            count: hasGradients ? 2 * gradientOffset : layout.count, inHugePages: isShared)
        activationArena = try AlignedBuffer(count: purpose == .parameters ? 0 : activationPlan.count)
        workspaceArena = try AlignedBuffer(count: purpose == .parameters ? 0 : workspacePlan.count)
        let packing = try AlignedBuffer<UInt8>(count: team.count * plan.packingBytes)
        packedArena = try AlignedBuffer(count: plan.packedBytes)
        matmul = MatMul(
            backend: tiles.map {
                TileMatMul(
                    precision: $0.precision, instructions: $0.instructions, workspace: packing.vector,
                    small: backend)
            } ?? backend, team: team)
        packingArena = packing
        weights = Weights(
            parameters: parameterArena.vector.slice(0..<layout.count), packed: packedArena.vector,
            precision: tiles?.precision)
        weightSlots = plan.weights
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
            4 * parameters.count, 4 * gradients.count, activationArena.bytes,
            workspaceArena.bytes + packingArena.bytes + packedArena.bytes
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
        embedding.forward(pass, into: pass.tokenRows(pass.activation(embedded)))
        var x = pass.tokenRows(pass.activation(embedded))
        for block in blocks { x = block.forward(pass, x) }
        if let final {
            final.norm.forward(pass, x, into: pass.tokenRows(pass.activation(final.output)))
        }
        transform?.forward(pass, stackOutput(pass))
    }

    /// Loss of the batch that `forward` took last, and its gradients: the sum over target tokens, not divided, is added
    /// to `gradients`. As backward comes down the layers, `ready(n)` says that `gradients` from element n on are
    /// complete; the last call is `ready(0)`. It comes again and again with the same n while a layer is under way, so that
    /// the caller can look after other work.
    public func backward(
        _ batch: TokenBatch, dropout: DropoutSeed? = nil, ready: (Int) throws -> Void
    ) rethrows -> CrossEntropy.Sum {
        precondition(hasGradients, "this model was made for inference")
        let pass = makePass(batch, dropout)
        let dStream = pass.tokenRows(pass.scratch(stream))
        let dBranch = pass.tokenRows(pass.scratch(branch))
        // A final norm moves the gradient from the one to the other.
        let (dStack, other) = final == nil ? (dStream, dBranch) : (dBranch, dStream)
        let sum = head.lossAndGradient(pass, headInput(pass), into: dStack)
        transform?.backward(pass, gradient: dStack, scratch: other, x: stackOutput(pass))
        if let final {
            Reductions.fill(dStream.vector, with: 0, on: team)
            final.norm.backward(pass, dStack, x: blockInput(pass, blocks.count), addingTo: dStream)
        }
        var complete = firstParameterBehindBlocks
        try ready(complete)
        for index in blocks.indices.reversed() {
            try blocks[index].backward(pass, stream: dStream, x: blockInput(pass, index)) {
                try ready(complete)
            }
            complete = blocks[index].firstParameter
            try ready(complete)
        }
        embedding.backward(pass, dStream, scratch: dBranch)
        try ready(0)
        return sum
    }

    // MARK: Inference

    /// Sum of the losses of `batch`, without gradients or dropout. Where there is a target, `predictions`
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
    private func headInput(_ pass: Pass) -> Matrix {
        transform.map { pass.tokenRows(pass.activation($0.output)) } ?? stackOutput(pass)
    }

    /// What comes out of the blocks and the final norm.
    private func stackOutput(_ pass: Pass) -> Matrix {
        final.map { pass.tokenRows(pass.activation($0.output)) } ?? blockInput(pass, blocks.count)
    }

    /// Input of block `index`; what comes out of the last one for `index` = number of blocks.
    private func blockInput(_ pass: Pass, _ index: Int) -> Matrix {
        pass.tokenRows(pass.activation(index == 0 ? embedded : blocks[index - 1].output))
    }

    private func makePass(_ batch: TokenBatch, _ dropout: DropoutSeed?) -> Pass {
        precondition(activationArena.count == activationPlan.count, "this model was made to hold parameters")
        precondition(
            batch.sequences <= microBatch && batch.length <= config.contextLength,
            "\(batch.sequences) × \(batch.length) tokens; planned for \(microBatch) × \(config.contextLength)"
        )
        return Pass(
            parameters: parameters, gradients: gradients, activations: activationArena.vector,
            workspace: workspaceArena.vector, weights: weights, team: team, matmul: matmul, batch: batch,
            dropout: dropout)
    }
}
