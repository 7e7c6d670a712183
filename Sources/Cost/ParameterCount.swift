import Configs

/// Where a model's parameters are, in elements; `total` is N.
public struct ParameterCount: Sendable {
    public let embeddings: Int
    public let attention: Int
    public let mlp: Int
    public let norms: Int
    /// Of the head; without a transform 0 when it shares the token embedding.
    public let head: Int
    /// Of the blocks and the final norms, which is what PyTorch's `nn.TransformerEncoder` and `nn.Transformer` are of.
    public var stack: Int { attention + mlp + norms }
    public let total: Int
    /// Weights of linear maps, among which is the token embedding that the head shares: what tiles are packed of.
    public let weights: Int
    /// Those whose gradients no matrix product gives, so that a step sets them to zero.
    public var cleared: Int { total - weights }
    /// What sinusoidal positions are taken from, which is fixed and no parameter, but which others count.
    public let sinusoids: Int
    /// Of each stack in the order of the arenas: what is in front of its blocks, each block, and the norm behind them.
    let stacks: [(front: Int, block: Int, layers: Int, behind: Int)]

    /// For GPT-2 (Radford et al. 2019) with a tied head L(4h² + 2hf + 9h + f) + Vh + sh + 2h.
    ///
    /// - Throws: `LockstepError` (`badConfiguration`) if a count does not fit 64 bits.
    public init(_ model: ModelConfig) throws {
        let m = Shape(model)
        let biases: Count = model.biases ? 1 : 0
        // A weight each and, of layer normalization, a bias.
        let norm = model.normType == .layer ? (1 + biases) * m.h : m.h
        // Tokens [V, h], which a decoder may share with its encoder; of each stack, if learned positions [s, h], types of
        // tokens, and their sum's norm.
        let tokens = m.vocab * m.h
        let isShared = model.family == .encoderDecoder && model.shareEmbeddings
        func front(_ stack: Shape.Stack) -> Count {
            (isShared ? 0 : tokens) + (model.positions == .learned ? stack.s * m.h : 0)
                + Count(model.tokenTypes) * m.h + (model.embeddingNorm ? norm : 0)
        }
        let embeddings = (isShared ? tokens : 0) + sum(m.stacks, front)
        // Biases of queries, keys and values h + 2kv, of the output h.
        let attention = m.attentionWeights + biases * (2 * m.h + 2 * m.kv)
        // Bias of up f, gated 2f; of down h.
        let mlp = m.mlpWeights + biases * ((model.gated ? 2 : 1) * m.f + m.h)
        // A norm for each branch of a layer, and the final one.
        let final: Count = model.finalNorm ? norm : 0
        let norms = sum(m.stacks) { $0.layers * $0.branches * norm + final }
        // Every branch but the feed-forward is an attention.
        let ofAttention = sum(m.stacks) { $0.layers * $0.attentions * attention }
        let ofMLP = sum(m.stacks) { $0.layers * mlp }
        // [V, h], without bias; with a transform [h, h] and its norm, and with biases of both.
        let transform = model.headTransform ? m.h * m.h + norm + biases * (m.h + m.vocab) : 0
        let head = (model.tieEmbeddings ? 0 : m.vocab * m.h) + transform

        self.embeddings = try embeddings.exact("parameters")
        self.attention = try ofAttention.exact("parameters")
        self.mlp = try ofMLP.exact("parameters")
        self.norms = try norms.exact("parameters")
        self.head = try head.exact("parameters")
        sinusoids = try (model.positions == .sinusoidal ? sum(m.stacks) { $0.s * m.h } : 0)
            .exact("sinusoids")
        total = try (embeddings + ofAttention + ofMLP + norms + head).exact("parameters")
        let ofBlocks = sum(m.stacks) { $0.layers * ($0.attentions * m.attentionWeights + m.mlpWeights) }
        weights = try (ofBlocks + tokens + (model.headTransform ? m.h * m.h : 0)).exact("parameters")
        stacks = try m.stacks.enumerated().map { index, stack in
            let block = stack.attentions * attention + mlp + stack.branches * norm
            let shared = index == 0 && isShared ? tokens : 0
            return (
                try (shared + front(stack)).exact("parameters"), try block.exact("parameters"),
                try stack.layers.exact("layers"), try final.exact("parameters")
            )
        }
    }
}
