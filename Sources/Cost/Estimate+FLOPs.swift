import Configs

extension Estimate {
    /// FLOPs of the matrix products of one step over the whole global batch: by convention, with attention over the full
    /// square of every sequence, and as executed.
    public struct FLOPs: Codable, Sendable, Equatable {
        public let forward: Int
        /// With what is recomputed.
        public let backward: Int
        public let perStep: Int
        /// The part of `backward` that repeats forward work: the attention scores, when they are not stored.
        public let recomputed: Int
        /// What a step really executes: without the scores that blocks of causal attention skip, and three bf16 products
        /// for each product that is done so (`precision.matmul: high`).
        public let executed: Int

        /// - Parameters:
        ///   - sequences: the global batch.
        ///   - executed: what a step executes, when that is known otherwise than by formula.
        init(_ model: ModelConfig, sequences: Int, executed known: Count? = nil) throws {
            let m = Shape(model)
            // Per token and layer: every weight of a matrix is multiplied and added once, 2 FLOPs
            //   queries, keys, values [h + 2c, h]  2 · (h² + 2hc), c the width of all heads of keys
            //   attention output      [h, h]       2 · h²
            //   up and down           [f, h]       2 · 2hf, gated 2 · 3hf
            // and every head, of width h/a, multiplies each of s keys and s values (full square, as in PaLM's count,
            // Chowdhery et al. 2022, appendix B)
            //   Q·Kᵀ                            2 · s · h
            //   P·V                             2 · s · h
            let layerWeights = 2 * (m.attentionWeights + m.mlpWeights)
            // Attention to a source has queries and output [h, h] of the target's tokens, keys and values [2c, h] of the
            // source's, and as many keys and values for each head as the source has tokens.
            func cross(_ stack: Shape.Stack) -> Count {
                stack.looksAtSource ? 4 * (stack.s * m.h * m.h + stack.source * m.h * m.kv) : 0
            }
            // Pairs of a query and a key in a sequence, by convention and as executed.
            func scores(_ stack: Shape.Stack) -> Count { stack.s * (stack.s + stack.source) }
            func executedScores(_ stack: Shape.Stack) -> Count {
                stack.attendedPairs + stack.s * stack.source
            }
            // Logits [V, h], and the head's transform [h, h]. Looking up embeddings multiplies nothing.
            let head = 2 * m.h * m.vocab + (model.headTransform ? 2 * m.h * m.h : 0)
            let sequences = Count(sequences)
            let weights =
                sequences
                * (sum(m.stacks) { $0.layers * ($0.s * layerWeights + cross($0)) } + m.s * head)
            let pairs = sequences * sum(m.stacks) { $0.layers * scores($0) }
            let forward = weights + 4 * pairs * m.h
            // Backward takes two products of the same size for each one: by the weights and by the inputs.
            // Recomputed attention forms Q·Kᵀ once more.
            let recomputed = model.attention == .recomputed ? 2 * pairs * m.h : 0
            let backward = 2 * forward + recomputed
            // Every weight forward and twice backward; then two, four and when recomputed one more product of attention,
            // over the pairs of a query and a key that blocks span.
            let executedPairs = sequences * sum(m.stacks) { $0.layers * executedScores($0) }
            let executed = 3 * weights + (model.attention == .recomputed ? 7 : 6) * 2 * executedPairs * m.h

            self.forward = try forward.exact("FLOPs of a step")
            self.backward = try backward.exact("FLOPs of a step")
            self.recomputed = try recomputed.exact("FLOPs of a step")
            self.executed = try (known ?? executed).exact("FLOPs of a step")
            perStep = try (forward + backward).exact("FLOPs of a step")
        }

        enum CodingKeys: String, CodingKey {
            case forward, backward
            case perStep = "per_step"
            case recomputed, executed
        }
    }
}
