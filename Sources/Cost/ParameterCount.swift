import Configs

/// Where a model's parameters are, in elements; `total` is N.
public struct ParameterCount: Sendable, Equatable {
    public let embeddings: Int
    public let attention: Int
    public let mlp: Int
    public let norms: Int
    /// Of the head; without a transform 0 when it shares the token embedding.
    public let head: Int
    /// Of the blocks and the final norm, which is what PyTorch's `nn.TransformerEncoder` is of.
    public var stack: Int { attention + mlp + norms }
    public let total: Int
    /// Of one block.
    let block: Int

    /// For GPT-2 (Radford et al. 2019) with a tied head L(4h² + 2hf + 9h + f) + Vh + sh + 2h.
    ///
    /// - Throws: `LockstepError` (`badConfiguration`) if a count does not fit 64 bits.
    public init(_ model: ModelConfig) throws {
        let m = Shape(model)
        let biases: Count = model.biases ? 1 : 0
        // A weight each and, of layer normalization, a bias.
        let norm = model.normType == .layer ? (1 + biases) * m.h : m.h
        // Tokens [V, h], if learned positions [s, h], types of tokens, and their sum's norm.
        let embeddings =
            m.vocab * m.h + (model.positions == .learned ? m.s * m.h : 0) + Count(model.tokenTypes) * m.h
            + (model.embeddingNorm ? norm : 0)
        // Biases of queries, keys and values h + 2kv, of the output h.
        let attention = m.attentionWeights + biases * (2 * m.h + 2 * m.kv)
        // Bias of up f, gated 2f; of down h.
        let mlp = m.mlpWeights + biases * ((model.gated ? 2 : 1) * m.f + m.h)
        // Two norms a layer and the final one.
        let norms = (2 * m.layers + (model.finalNorm ? 1 : 0)) * norm
        // [V, h], without bias; with a transform [h, h] and its norm, and with biases of both.
        let transform = model.headTransform ? m.h * m.h + norm + biases * (m.h + m.vocab) : 0
        let head = (model.tieEmbeddings ? 0 : m.vocab * m.h) + transform

        self.embeddings = try embeddings.exact("parameters")
        self.attention = try (m.layers * attention).exact("parameters")
        self.mlp = try (m.layers * mlp).exact("parameters")
        self.norms = try norms.exact("parameters")
        block = try (attention + mlp + 2 * norm).exact("parameters")
        self.head = try head.exact("parameters")
        total = try (embeddings + m.layers * (attention + mlp) + norms + head).exact("parameters")
    }
}
