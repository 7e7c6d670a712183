import Configs
import Kernels

/// The parameters of a model by their names.
struct NamedParameters {
    let config: ModelConfig
    private let tensors: [String: ParameterTensor]
    private let parameters: Vector
    private let halves: VectorView<BFloat16>?
    private let drafts: [String: QuantizedMatrix]

    /// - Parameters:
    ///   - halves: the parameters rounded to bf16; nil where steps read fp32.
    ///   - drafts: weights in 8 bits by their names.
    init(_ network: LanguageModel, halves: VectorView<BFloat16>?, drafts: [String: QuantizedMatrix]) {
        self.halves = halves
        self.drafts = drafts
        config = network.config
        tensors = Dictionary(uniqueKeysWithValues: network.layout.tensors.map { ($0.name, $0) })
        parameters = network.parameters
    }

    func vector(_ name: String) -> Vector { parameters.slice(tensor(name).range) }

    func matrix(_ name: String) -> Matrix {
        let slot = tensor(name).slot
        return vector(name).matrix(rows: slot.rows, columns: slot.columns)
    }

    func weight(_ name: String) -> CachedWeight {
        let slot = tensor(name).slot
        return CachedWeight(
            matrix: matrix(name),
            half: halves?.slice(tensor(name).range).matrix(rows: slot.rows, columns: slot.columns),
            draft: drafts[name])
    }

    private func tensor(_ name: String) -> ParameterTensor {
        guard let tensor = tensors[name] else { preconditionFailure("this model has no \(name)") }
        return tensor
    }
}

/// A weight `[out, in]`, and for products of few rows in bf16 and, of what is only proposed, in 8 bits.
struct CachedWeight {
    let matrix: Matrix
    let half: MatrixView<BFloat16>?
    let draft: QuantizedMatrix?
}

/// The parameters of a block.
struct CachedBlock {
    typealias Linear = (weight: CachedWeight, bias: Vector?)
    /// Those of attention to a source.
    struct CrossAttention {
        let norm: CachedNorm
        let query: Linear
        /// Keys, then values.
        let keyValue: Linear
        let output: Linear
    }
    let attentionNorm: CachedNorm
    let mlpNorm: CachedNorm
    let qkv: Linear
    let output: Linear
    /// Gated, the gate's rows first.
    let up: Linear
    let down: Linear
    /// In a decoder that looks at a source.
    let crossAttention: CrossAttention?

    init(_ name: String, looksAtSource: Bool, _ parameters: NamedParameters) {
        func linear(_ layer: String) -> Linear {
            (
                parameters.weight("\(name).\(layer).weight"),
                parameters.config.biases ? parameters.vector("\(name).\(layer).bias") : nil
            )
        }
        attentionNorm = CachedNorm("\(name).attention_norm", parameters)
        mlpNorm = CachedNorm("\(name).mlp_norm", parameters)
        (qkv, output) = (linear("attention.qkv"), linear("attention.output"))
        (up, down) = (linear(parameters.config.gated ? "mlp.gate_up" : "mlp.up"), linear("mlp.down"))
        crossAttention =
            looksAtSource
            ? CrossAttention(
                norm: CachedNorm("\(name).cross_attention_norm", parameters),
                query: linear("cross_attention.query"), keyValue: linear("cross_attention.key_value"),
                output: linear("cross_attention.output")) : nil
    }
}

/// The parameters of a stack of blocks, and of what is before and behind them.
struct CachedStack {
    /// `[V, h]`
    let embedding: CachedWeight
    /// Learned or sinusoidal `[s, h]`, or angles `[s, d]`.
    let positions: Matrix
    let blocks: [CachedBlock]
    let finalNorm: CachedNorm?

    /// - Parameters:
    ///   - prefix: of the names of its tensors.
    ///   - table: of positions, where they are not learned.
    init(_ prefix: String, layers: Int, looksAtSource: Bool, table: Matrix?, _ parameters: NamedParameters) {
        let config = parameters.config
        let isShared = config.family == .encoderDecoder && config.shareEmbeddings
        embedding = parameters.weight((isShared ? "" : prefix) + "token_embedding.weight")
        positions = table ?? parameters.matrix("\(prefix)position_embedding.weight")
        blocks = (0..<layers).map {
            CachedBlock("\(prefix)layers.\($0)", looksAtSource: looksAtSource, parameters)
        }
        finalNorm = config.finalNorm ? CachedNorm("\(prefix)final_norm", parameters) : nil
    }
}

/// The parameters of a norm.
struct CachedNorm {
    private let type: ModelConfig.NormType
    private let epsilon: Float
    private let weight: Vector
    private let bias: Vector?

    init(_ name: String, _ parameters: NamedParameters) {
        let config = parameters.config
        (type, epsilon) = (config.normType, Float(config.normEpsilon))
        weight = parameters.vector("\(name).weight")
        bias = type == .layer && config.biases ? parameters.vector("\(name).bias") : nil
    }

    /// - Parameter statistics: workspace, two rows of at least an element for each row of `x`. `y` may be `x`.
    func forward(_ x: Matrix, into y: Matrix, statistics: Matrix, on team: ThreadTeam) {
        let first = statistics.rows(0..<1).vector.slice(0..<x.rows)
        let second = statistics.rows(1..<2).vector.slice(0..<x.rows)
        switch type {
        case .layer:
            LayerNorm.forward(
                x, weight: weight, bias: bias, epsilon: epsilon, into: y, mean: first,
                inverseDeviation: second, on: team)
        case .rms:
            RMSNorm.forward(x, weight: weight, epsilon: epsilon, into: y, inverseRoot: first, on: team)
        }
    }
}
