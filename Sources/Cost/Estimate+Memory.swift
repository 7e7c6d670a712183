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
            let data = config.batchBytes(sequences: Count(microBatch), tokens: pass.tokens)
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
        let total =
            parameters + pass.activations + pass.workspace
            + config.batchBytes(sequences: Count(microBatch), tokens: pass.tokens)
        return try total.exact("bytes of a rank")
    }
}

extension RunConfig {
    /// Inputs and targets, of pairs what the model predicts, and of documents the lengths of sequences, each Int32.
    fileprivate func batchBytes(sequences: Count, tokens: Count) -> Count {
        (data.task.hasPairs ? 12 : 8) * tokens + (data.packing == .documents ? 4 * sequences : 0)
    }
}

/// Bytes of an element.
private let fp32 = 4

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
    let tokens: Count
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
        //   its norm                         h        its norm                        h
        //   its mean and 1/deviation         2        its mean and 1/deviation        2
        //   queries, keys, values       h + 2c        before the activation           f, gated 2f
        //   attention's weighted values      h        after it                        f
        // with c the width of all heads of keys. With norms behind the sums, it is the sums that are kept beside the stream.
        // The root mean square is one number where mean and deviation are two. Masks of dropout are drawn again, not kept.
        let statistics: Count = model.normType == .layer ? 2 : 1
        var layer = 6 * m.h + 2 * m.kv + (model.gated ? 3 : 2) * m.f + 2 * statistics
        // Log-sum-exp of each head's scores, from which the probabilities are recomputed (Dao et al. 2022) ...
        if isRecomputed { layer = layer + m.a }
        // ... or the probabilities themselves: [b, a, s, s] a layer.
        let probabilities = isRecomputed ? 0 : m.layers * b * m.a * m.s * m.s
        // Residual stream behind the layers h; the final norm h, and what it keeps of each row.
        let final = m.h + (model.finalNorm ? m.h + statistics : 0)
        // The sum of embeddings before their norm; the head's transform before and behind its activation, and its norm.
        let ends =
            (model.embeddingNorm ? m.h + statistics : 0) + (model.headTransform ? 3 * m.h + statistics : 0)

        // Gradient of the residual stream and of the branch that joins it; both live through the whole backward pass.
        let gradients = 2 * t * m.h
        // Sinusoids of every position, or cosines and sines of rotary angles.
        let positions: Count
        switch model.positions {
        case .learned: positions = 0
        case .sinusoidal: positions = m.s * m.h
        case .rotary: positions = m.s * m.d
        }
        // The largest of what only one place needs at a time:
        // the MLP: gradient before the activation.
        let mlp = (model.gated ? 2 : 1) * t * m.f
        // attention: gradient of its weighted values h and of queries, keys and values h + 2c; for one block of q rows of
        // one head at a time on each thread the gradient of the probabilities qs, the probabilities qs if recomputed, their dropped
        // form qs if there is dropout, and the row sums of probability times gradient q.
        let q = Count.min(m.s, Count(ModelConfig.attentionBlockRows))
        let scores = Count((isRecomputed ? 2 : 1) + (model.dropout > 0 ? 1 : 0))
        let attention =
            t * (2 * m.h + 2 * m.kv) + Count(config.parallel.threadsPerRank) * (scores * q * m.s + q)
        // the head: a block of logits, in place of which their gradient is computed.
        let head = Count.min(t, Count(ModelConfig.logitsBlockRows)) * m.vocab

        tokens = t
        activations = Count(fp32) * (t * (m.layers * layer + final + ends) + probabilities)
        let packed = TileFootprint(config, microBatch: microBatch)
        workspace =
            Count(fp32) * (positions + gradients + Count.max(mlp, attention, head)) + packed.weights
            + packed.packing
    }
}
