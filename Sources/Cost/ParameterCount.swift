import Configs

/// Where a model's parameters are, in elements; `total` is N.
public struct ParameterCount: Sendable, Equatable {
    public let embeddings: Int
    public let attention: Int
    public let mlp: Int
    public let norms: Int
    /// 0 when the head shares the token embedding.
    public let head: Int
    public let total: Int

    /// Pre-norm GPT-2 (Radford et al. 2019): L(4h² + 2hf + 9h + f) + Vh + sh + 2h with a tied head.
    ///
    /// - Throws: `LockstepError` (`badConfiguration`) if a count does not fit 64 bits.
    public init(_ model: ModelConfig) throws {
        let m = Shape(model)
        // Tokens [V, h] and learned positions [s, h].
        let embeddings = m.vocab * m.h + m.s * m.h
        // Queries, keys and values [3h, h] with bias 3h; output [h, h] with bias h.
        let attention = m.layers * (4 * m.h * m.h + 4 * m.h)
        // Up [f, h] with bias f; down [h, f] with bias h.
        let mlp = m.layers * (2 * m.h * m.f + m.f + m.h)
        // Weight and bias of two norms a layer and of the final one.
        let norms = m.layers * 4 * m.h + 2 * m.h
        // [V, h], without bias.
        let head = model.tieEmbeddings ? 0 : m.vocab * m.h

        self.embeddings = try embeddings.exact("parameters")
        self.attention = try attention.exact("parameters")
        self.mlp = try mlp.exact("parameters")
        self.norms = try norms.exact("parameters")
        self.head = try head.exact("parameters")
        total = try (embeddings + attention + mlp + norms + head).exact("parameters")
    }
}
