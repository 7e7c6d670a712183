import Configs

/// A product of training a linear layer Y[t,out] = X[t,in]·W[out,in]ᵀ, or of attention, whose keys or values stand for W.
struct TrainingProduct: Encodable {
    enum Role: String, CaseIterable, Encodable {
        case forward = "X·Wᵀ"
        case inputGradient = "dY·W"
        case weightGradient = "dYᵀ·X"
    }

    let layer: String
    let role: Role
    /// Extents of the product: [m,k] by [k,n].
    let m: Int
    let n: Int
    let k: Int

    var flops: Double { 2 * Double(m) * Double(n) * Double(k) }
    var transposesA: Bool { role == .weightGradient }
    var transposesB: Bool { role == .forward }

    /// All products of a micro-batch of `model`, once: of its last block of query rows, which looks at all keys.
    static func all(of model: BenchmarkModel) -> [TrainingProduct] {
        let (t, h, f) = (model.tokens, model.width, model.hidden)
        let (rows, keys, d) = (
            min(ModelConfig.attentionBlockRows, model.context), model.context, h / model.heads
        )
        return roles("qkv", inputs: h, outputs: 3 * h, tokens: t)
            + roles("projection", inputs: h, outputs: h, tokens: t)
            + roles("mlp up", inputs: h, outputs: f, tokens: t)
            + roles("mlp down", inputs: f, outputs: h, tokens: t)
            + roles("head", inputs: h, outputs: model.vocabulary, tokens: min(t, ModelConfig.logitsBlockRows))
            + [
                TrainingProduct(layer: "attention", role: .forward, m: rows, n: keys, k: d),
                TrainingProduct(layer: "attention", role: .inputGradient, m: rows, n: d, k: keys),
                TrainingProduct(layer: "attention", role: .weightGradient, m: keys, n: d, k: rows),
            ]
    }

    private static func roles(
        _ layer: String, inputs: Int, outputs: Int, tokens: Int
    ) -> [TrainingProduct] {
        [
            TrainingProduct(layer: layer, role: .forward, m: tokens, n: outputs, k: inputs),
            TrainingProduct(layer: layer, role: .inputGradient, m: tokens, n: inputs, k: outputs),
            TrainingProduct(layer: layer, role: .weightGradient, m: outputs, n: inputs, k: tokens),
        ]
    }
}
