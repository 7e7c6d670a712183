import Configs

/// A matrix product C[m, n] = op(A)·op(B) over an inner extent k.
public struct Product: Hashable, Sendable {
    /// Which of a linear map's three products it is; they read their operands in different orders.
    public enum Role: String, Codable, Sendable, CaseIterable {
        /// A[m, k]·B[n, k]ᵀ
        case forward
        /// A[m, k]·B[k, n]
        case inputGradient = "input_gradient"
        /// A[k, m]ᵀ·B[k, n], added to C
        case weightGradient = "weight_gradient"
    }

    public let role: Role
    public let m: Int
    public let n: Int
    public let k: Int

    public init(_ role: Role, m: Int, n: Int, k: Int) {
        self.role = role
        self.m = m
        self.n = n
        self.k = k
    }

    /// A multiply-add counted as two.
    public var flops: Double { 2 * Double(m) * Double(n) * Double(k) }
}

/// What runs through memory beside the matrix products: one kernel over a tensor `[rows, columns]`.
public enum RowKernel: String, Codable, Sendable, CaseIterable {
    case embeddingForward = "embedding_forward"
    case embeddingBackward = "embedding_backward"
    case layerNormForward = "layer_norm_forward"
    case layerNormBackward = "layer_norm_backward"
    case rmsNormForward = "rms_norm_forward"
    case rmsNormBackward = "rms_norm_backward"
    /// Over the heads of queries and keys.
    case rotary
    /// A linear map's bias, copied into every row before the product is added.
    case biasFill = "bias_fill"
    case biasGradient = "bias_gradient"
    case residualAdd = "residual_add"
    /// The same and the norm of the sum, in one pass.
    case layerNormOfSum = "layer_norm_of_sum"
    case rmsNormOfSum = "rms_norm_of_sum"
    case geluForward = "gelu_forward"
    case geluBackward = "gelu_backward"
    case geluErfForward = "gelu_erf_forward"
    case geluErfBackward = "gelu_erf_backward"
    case reluForward = "relu_forward"
    case reluBackward = "relu_backward"
    case siluForward = "silu_forward"
    case siluBackward = "silu_backward"
    case gatedGeluForward = "gated_gelu_forward"
    case gatedGeluBackward = "gated_gelu_backward"
    case gatedGeluErfForward = "gated_gelu_erf_forward"
    case gatedGeluErfBackward = "gated_gelu_erf_backward"
    case gatedReluForward = "gated_relu_forward"
    case gatedReluBackward = "gated_relu_backward"
    case gatedSiluForward = "gated_silu_forward"
    case gatedSiluBackward = "gated_silu_backward"
    case dropout
    /// From activations in 16 bits to fp32, and the other way.
    case widen
    case round
    case softmaxForward = "softmax_forward"
    case softmaxProbabilities = "softmax_probabilities"
    case softmaxBackward = "softmax_backward"
    case rowDots = "row_dots"
    case crossEntropyForward = "cross_entropy_forward"
    case crossEntropyTraining = "cross_entropy_training"
    case fill
    case sumOfSquares = "sum_of_squares"
    case sgd
    case sgdMomentum = "sgd_momentum"
    case adam
    case adamW = "adamw"
    case rmsProp = "rmsprop"
    case rmsPropMomentum = "rmsprop_momentum"
    case adaGrad = "adagrad"
}

/// The work of a part of a step: how often each product and each row kernel runs, and over how much.
public struct Work: Sendable {
    /// What surrounds a piece of work decides how much of it the caches still hold.
    public enum Place: Sendable {
        /// Over a micro-batch's activations `[tokens, …]`.
        case activations
        /// Within one head of one sequence, whose scores stay in the cache.
        case head
        /// Over parameters, gradients or optimizer state.
        case parameters
    }

    public struct Products: Sendable {
        public let product: Product
        public let count: Int
        public let place: Place
    }

    public struct Rows: Sendable {
        public let kernel: RowKernel
        public let rows: Int
        public let columns: Int
        public let count: Int
        public let place: Place
    }

    public private(set) var products: [Products] = []
    public private(set) var rows: [Rows] = []
    /// Elements of weights that are packed for tiles.
    public private(set) var packedElements = 0
    /// The same of keys and values in heads, where only one of both products reads them.
    public private(set) var packedHeadElements = 0
    /// Elements of fp32 that heads put aside for backward, and those that they fetch from there: a whole pass lies in
    /// between, unlike with the rest of what they work on.
    public private(set) var keptElements = 0.0
    public private(set) var fetchedElements = 0.0
    /// Elements of gradients that products overwrite, once a step.
    public private(set) var overwrittenElements = 0

    init() {}

    /// FLOPs of the products.
    public var flops: Double { products.reduce(0) { $0 + Double($1.count) * $1.product.flops } }

    mutating func add(_ product: Product, count: Int = 1, place: Place = .activations) {
        products.append(Products(product: product, count: count, place: place))
    }

    mutating func pack(elements: Int) { packedElements += elements }

    mutating func packInHeads(elements: Int) { packedHeadElements += elements }

    /// Sets activations to zero, in one go: a fill is timed as one row, whose own cost is that of a call.
    mutating func fill(_ rows: Int, _ columns: Int, count: Int = 1) {
        let (elements, overflows) = rows.multipliedReportingOverflow(by: columns)
        add(.fill, 1, overflows ? .max : elements, count: count)
    }

    mutating func overwrite(elements: Int) { overwrittenElements += elements }

    mutating func keep(elements: Double) { keptElements += elements }

    mutating func fetch(elements: Double) { fetchedElements += elements }

    mutating func add(
        _ kernel: RowKernel, _ rows: Int, _ columns: Int, count: Int = 1, place: Place = .activations
    ) {
        self.rows.append(Rows(kernel: kernel, rows: rows, columns: columns, count: count, place: place))
    }
}
