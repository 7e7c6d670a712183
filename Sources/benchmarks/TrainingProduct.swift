/// A product of training a linear layer Y[t,out] = X[t,in]·W[out,in]ᵀ.
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

    static let models = ["w1", "gpt2-124m", "gpt2-124m-head"]

    /// All products of a model of `models`.
    static func all(of model: String) -> [TrainingProduct] {
        switch model {
        case "w1":
            [1024, 4096].flatMap { tokens in block(width: 384, hidden: 1536, tokens: tokens) }
        case "gpt2-124m": block(width: 768, hidden: 3072, tokens: 1024)
        default: roles("head", inputs: 768, outputs: 50_257, tokens: 1024)
        }
    }

    private static func block(width: Int, hidden: Int, tokens: Int) -> [TrainingProduct] {
        roles("qkv", inputs: width, outputs: 3 * width, tokens: tokens)
            + roles("projection", inputs: width, outputs: width, tokens: tokens)
            + roles("mlp up", inputs: width, outputs: hidden, tokens: tokens)
            + roles("mlp down", inputs: hidden, outputs: width, tokens: tokens)
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
