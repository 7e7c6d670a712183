import Configs

extension Estimate {
    /// Bytes of a rank.
    public struct Memory: Codable, Sendable, Equatable {
        public let parameters: Int
        public let gradients: Int
        public let optimizer: Int
        /// Kept by the forward pass for the backward pass.
        public let activations: Int
        /// Scratch that the layers share.
        public let workspace: Int
        public let communication: Int
        /// Batch buffers.
        public let data: Int
        /// Everything else: binary, libraries, MPI, packed operands of BLAS, pages of the corpus.
        @NullWhenUnknown public private(set) var runtime: Int?
        /// What rank 0 has beyond the others.
        @NullWhenUnknown public private(set) var coordinator: Int?
        /// All of the above: the most that rank 0 takes. The other ranks have no coordinator.
        @NullWhenUnknown public private(set) var peak: Int?
        /// Of all ranks of the host of rank 0 together, with what they share counted once.
        @NullWhenUnknown public private(set) var node: Int?

        /// What Lockstep allocates itself: every term but the runtime.
        public var arenas: Int {
            parameters + gradients + optimizer + activations + workspace + communication + data
        }

        init(
            _ config: RunConfig, parameters n: Int, exchange: GradientExchange, microBatch: Int,
            runtime: Runtime?
        ) throws {
            let stored = Count(fp32) * Count(n)
            let state = Count(fp32) * Count(exchange.updated) * Count(config.train.optimizer.stateElements)
            let pass = PassFootprint(config, microBatch: microBatch)
            let communication = exchange.communicationBytes
            let data = pass.batch
            // One arena, and in a reproducible run one for each level of the tree over a rank's micro-batches.
            let leaves = config.train.globalBatch / exchange.ranks / microBatch
            let levels = config.parallel.reproducible ? Int.bitWidth - (leaves - 1).leadingZeroBitCount : 0
            let gradients = stored * Count(1 + levels)
            let arenas =
                stored + gradients + state + pass.activations + pass.workspace + communication + data

            parameters = try stored.exact("bytes of the parameters")
            self.gradients = try gradients.exact("bytes of the gradients")
            optimizer = try state.exact("bytes of the optimizer state")
            activations = try pass.activations.exact("bytes of the activations")
            workspace = try pass.workspace.exact("bytes of the workspace")
            self.communication = try communication.exact("bytes of communication")
            self.data = try data.exact("bytes of the batch")
            let own = try arenas.exact("bytes of a rank")
            guard let runtime else { return }
            self.runtime = runtime.bytes
            coordinator = runtime.coordinator
            peak = try (arenas + Count(runtime.bytes + runtime.coordinator)).exact("bytes of a rank")
            node = try
                (Count(runtime.ranksPerHost)
                * Count(own + runtime.ownBytes)
                + Count(runtime.sharedBytes + runtime.coordinator)).exact("bytes of a host")
        }
    }
}

extension Estimate {
    /// Bytes of a model that only goes forward, `microBatch` sequences at a time: parameters, activations, workspace and
    /// batch buffers.
    public static func inferenceBytes(_ config: RunConfig, microBatch: Int) throws -> Int {
        let pass = PassFootprint(config, microBatch: microBatch)
        let parameters = Count(fp32) * Count(try ParameterCount(config.model).total)
        let total = parameters + pass.activations + pass.workspace + pass.batch
        return try total.exact("bytes of a rank")
    }
}

/// Bytes of an element.
private let fp32 = 4

extension PrecisionConfig.ActivationFormat {
    /// Of an element.
    fileprivate var bytes: Count {
        switch self {
        case .fp32: 4
        case .bf16, .fp16: 2
        }
    }
}

extension OptimizerConfig {
    /// Elements that the optimizer keeps for each parameter that it updates.
    var stateElements: Int {
        let momentumBuffer = momentum > 0 ? 1 : 0
        return switch name {
        case .sgd: momentumBuffer
        // Running mean of squared gradients.
        case .rmsprop: 1 + momentumBuffer
        // Sum of squared gradients.
        case .adagrad: 1
        // First and second moment.
        case .adam, .adamw: 2
        }
    }
}

/// Bytes that one forward and backward pass of a micro-batch needs.
struct PassFootprint {
    /// Of tokens as they come from the corpus, and of the lengths of sources.
    let batch: Count
    let activations: Count
    let workspace: Count

    init(_ config: RunConfig, microBatch: Int) {
        let model = config.model
        let m = Shape(model)
        let b = Count(microBatch)
        let t = b * m.s
        let isRecomputed = model.attention == .recomputed

        // Kept for backward per token and layer, in elements (method of Korthikanti et al. 2022, table 2):
        //   residual stream into attention   h        residual stream into the MLP    h
        //   its norm's mean and 1/deviation  2        its norm's mean and 1/deviation 2
        //   queries, keys, values       h + 2c        before the activation           f, gated 2f
        //   attention's weighted values      h
        // with c the width of all heads of keys. With norms behind the sums, these are kept beside the stream. The root mean
        // square is one number where mean and deviation are two. What norms before a layer and activations give it is computed
        // again, and masks of dropout are drawn again.
        // What a norm keeps of a row is in fp32 always, the rest in `precision.activations`.
        let statistics: Count = model.normType == .layer ? 2 : 1
        // Of a residual branch.
        let ofStream = (model.norm == .pre ? 1 : 2) * m.h
        let layer = 2 * ofStream + 2 * m.h + 2 * m.kv + (model.gated ? 2 : 1) * m.f
        // Attention to a source keeps stream, queries and weighted values of each target token, and keys and values of each
        // source token.
        func cross(_ stack: Shape.Stack) -> Count {
            stack.looksAtSource ? stack.s * (ofStream + 2 * m.h) + stack.source * 2 * m.kv : 0
        }
        // The probabilities: [b, a, s, s] a layer, and to a source of S tokens [b, a, s, S]; or, in fp32, log-sum-exp of each
        // head's scores, from which they are recomputed (Dao et al. 2022).
        func probabilities(_ stack: Shape.Stack) -> Count {
            isRecomputed ? 0 : m.a * stack.s * (stack.s + stack.source)
        }
        func rowSums(_ stack: Shape.Stack) -> Count { isRecomputed ? m.a * stack.s * stack.attentions : 0 }
        // Residual stream behind the layers h; the final norm h, and the sum of embeddings before their norm.
        let ends = m.h + (model.finalNorm ? m.h : 0) + (model.embeddingNorm ? m.h : 0)
        let outerNorms = Count((model.finalNorm ? 1 : 0) + (model.embeddingNorm ? 1 : 0))
        // The head's transform before and behind its activation, and its norm.
        let transform = model.headTransform ? 3 * m.h : 0
        let kept =
            sum(m.stacks) { $0.layers * ($0.s * layer + cross($0) + probabilities($0)) + $0.s * ends }
            + m.s * transform
        let inFull =
            sum(m.stacks) {
                $0.layers * ($0.s * $0.branches * statistics + rowSums($0)) + $0.s * outerNorms * statistics
            } + (model.headTransform ? m.s * statistics : 0)

        // Gradient of the residual stream and of the branch that joins it; both live through the whole backward pass, as does
        // the gradient of an encoder's output for a decoder.
        let longest = Count.max(m.s, Count(model.sourceLength))
        let gradients = 2 * b * longest * m.h + b * Count(model.sourceLength) * m.h
        // What a norm before a layer gives it, as it would be kept.
        let format = config.precision.activations
        let isHalf = format != .fp32
        func elements(_ width: Int) -> Count { Count(isHalf ? (width + 1) / 2 : width) }
        let normed = model.norm == .pre ? b * longest * elements(model.dModel) : 0
        // Sinusoids of every position, or cosines and sines of rotary angles.
        let positions: Count
        switch model.positions {
        case .learned: positions = 0
        case .sinusoidal: positions = longest * m.h
        case .rotary: positions = longest * m.d
        }
        // The largest of what only one place needs at a time:
        // the MLP: what is after the activation, as it would be kept, and the gradient before it, of a block of rows where
        // activations are kept in 16 bits, and as they are where products take it so.
        let block = Count.min(b * longest, Count(ModelConfig.keptBlockRows))
        let hidden = (model.gated ? 2 : 1) * model.dFF
        let hiddenGradient =
            config.precision.takesKept
            ? Count.min(b * longest, Count(ModelConfig.mlpBlockRows)) * elements(hidden)
            : (isHalf ? block : b * longest) * Count(hidden)
        let mlp = b * longest * elements(model.dFF) + hiddenGradient
        // attention: gradient of its weighted values h and of queries, keys and values h + 2c; for one block of q rows of
        // one head at a time on each thread, with n keys, the gradient of the probabilities qn, the probabilities qn if
        // recomputed, their dropped form qn if there is dropout, and the row sums of probability times gradient q.
        // Where activations are kept in 16 bits, the probabilities are of a block, too; keys, values and their gradients, and a
        // block of queries, outputs and the gradients of both, are in fp32; and two numbers of a row's gradients above share an
        // element.
        let blocks = Count((isRecomputed || isHalf ? 2 : 1) + (model.dropout > 0 ? 1 : 0))
        func heads(_ stack: Shape.Stack, keys: Count) -> Count {
            let q = Count.min(stack.s, Count(ModelConfig.attentionBlockRows))
            let own = isHalf ? 4 * (keys + q) * m.d : 0
            return Count(config.parallel.threadsPerRank) * (blocks * q * keys + q + own)
        }
        let (width, joint) = (
            model.dModel, model.dModel + 2 * model.numKVHeads * (model.dModel / model.numHeads)
        )
        func attention(_ stack: Shape.Stack) -> Count {
            let own =
                b * stack.s * (elements(width) + elements(joint)) + heads(stack, keys: stack.s)
            guard stack.looksAtSource else { return own }
            let ofSource = stack.s * 2 * elements(width) + stack.source * elements(joint - width)
            return Count.max(own, b * ofSource + heads(stack, keys: stack.source))
        }
        // the head: a block of logits, in place of which their gradient is computed, and what it is made of in fp32.
        let head =
            Count.min(t, Count(ModelConfig.logitsBlockRows)) * (m.vocab + (isHalf ? m.h : 0))
        // A block of rows of whatever is read from 16 bits, and one of whatever is written to them.
        let conversion =
            isHalf ? 2 * block * Count.max(m.h + 2 * m.kv, (model.gated ? 2 : 1) * m.f) : 0

        // Inputs and targets, of pairs what the model predicts, of documents the lengths of sequences, of sources tokens and
        // lengths, each Int32.
        batch =
            (config.data.task.hasPairs ? 12 : 8) * t + (config.data.packing == .documents ? 4 * b : 0)
            + (model.family == .encoderDecoder ? 4 * b * (Count(model.sourceLength) + 1) : 0)
        activations = b * (format.bytes * kept + Count(fp32) * inFull)
        let packed = TileFootprint(config, microBatch: microBatch)
        let largest = m.stacks.reduce(Count.max(mlp, head)) { Count.max($0, attention($1)) }
        workspace =
            Count(fp32) * (positions + conversion + gradients + normed + largest) + packed.weights
            + packed.packing
    }
}
