import Configs

/// The work of one rank's step in the order in which it happens, derived from the configuration alone.
public struct Workload: Sendable {
    /// Of one micro-batch.
    public let forward: Work
    /// Of one micro-batch from its loss on; with the loss, the head's logits among it.
    public let head: Work
    /// Of one layer of one micro-batch; of an encoder–decoder one of the decoder, with its attention to the source.
    public let backwardOfLayer: Work
    /// Of one layer of an encoder–decoder's encoder; nothing in other families.
    public let backwardOfEncoderLayer: Work
    /// Of what lies outside of the layers and the head.
    public let backwardOfRest: Work
    /// Once a step, at the start of backward: gradients are set to zero that are only added to, and weights packed that are
    /// kept so.
    public let clearing: Work
    /// Once a step.
    public let optimizer: Work
    /// Loss of one micro-batch without gradients, beside `forward`.
    public let evaluationHead: Work
    public let microBatches: Int
    /// d_model.
    let width: Int
    /// Heads of all sequences of a micro-batch, which threads share out among them.
    let heads: Int
    let precision: PrecisionConfig.MatMulPrecision
    /// Nil where products are BLAS's.
    let tileKind: TileProductKind?
    /// Whether activations are kept in 16 bits.
    let isHalf: Bool

    /// - Parameters:
    ///   - parameters: of the model; nil leaves out what a step does with parameters alone, such as clearing their gradients.
    ///   - updated: parameters that the rank updates: all of them, or its share when the optimizer is sharded.
    public init(
        _ config: RunConfig, microBatch: Int, sequencesPerRank: Int, parameters: ParameterCount? = nil,
        updated: Int = 0
    ) {
        let model = config.model
        let sizes = Sizes(model, microBatch: microBatch, config.precision)
        microBatches = max(1, sequencesPerRank / microBatch)
        width = model.dModel
        heads = max(1, microBatch * model.numHeads)
        precision = config.precision.matmul
        tileKind = TileProductKind(config.precision)
        isHalf = config.precision.activations != .fp32
        var forward = Self.forward(sizes)
        head = Self.head(sizes, isTraining: true)
        evaluationHead = Self.head(sizes, isTraining: false)
        backwardOfLayer = Self.backwardOfLayer(sizes, sizes.last)
        backwardOfEncoderLayer = sizes.encoder.map { Self.backwardOfLayer(sizes, $0) } ?? Work()
        var rest = Work()
        for stack in sizes.stacks {
            if model.finalNorm {
                rest.fill(stack.t, sizes.h)
                rest.addNormBackward(sizes, rows: stack.t)
            }
            if sizes.drops { rest.add(.dropout, stack.t, sizes.h) }
            if model.embeddingNorm {
                rest.fill(stack.t, sizes.h)
                rest.addNormBackward(sizes, rows: stack.t)
            }
            if sizes.hasTypes { rest.add(.biasGradient, stack.t, sizes.h) }
            rest.add(.embeddingBackward, stack.t, sizes.h)
        }
        // Gradient of the encoder's output.
        if let encoder = sizes.encoder { rest.fill(encoder.t, sizes.h) }
        var clearing = Work()
        if let parameters {
            clearing.add(.fill, 1, parameters.cleared, place: .parameters)
            clearing.overwrite(elements: parameters.weights)
            if tileKind != nil {
                if TileFootprint(config, microBatch: microBatch).packsAgain {
                    // Each pass needs one of both forms.
                    forward.pack(elements: parameters.weights / 2)
                    rest.pack(elements: parameters.weights / 2)
                } else {
                    clearing.pack(elements: parameters.weights)
                }
            }
        }
        self.forward = forward
        backwardOfRest = rest
        self.clearing = clearing
        var optimizer = Work()
        optimizer.add(.sumOfSquares, 1, updated, place: .parameters)
        optimizer.add(config.train.optimizer.kernel, 1, updated, place: .parameters)
        self.optimizer = optimizer
    }

    /// FLOPs of all that the rank's step executes, where `products` stand for one in tiles.
    func executedFLOPs(_ model: ModelConfig, products: Int) -> Count {
        func sum(_ work: Work) -> Count {
            work.products.reduce(Count(0)) { sum, item in
                let product = item.product
                let count = item.count * (precision.isInTiles(product) ? products : 1)
                return sum + 2 * Count(count) * Count(product.m) * Count(product.n) * Count(product.k)
            }
        }
        return Count(microBatches)
            * (sum(forward) + sum(head) + Count(model.numLayers) * sum(backwardOfLayer)
                + Count(model.encoderLayers) * sum(backwardOfEncoderLayer))
    }

    /// Every product that the step issues, once.
    var distinctProducts: Set<Product> {
        Set([forward, head, backwardOfLayer, backwardOfEncoderLayer].flatMap { $0.products.map(\.product) })
    }

    /// Layers through which t tokens of sequences of length s go, and where these look at a source its length and all
    /// sources' tokens.
    struct StackSizes {
        let layers, t, s: Int
        let isCausal: Bool
        var source: (s: Int, t: Int)?

        var attentions: Int { source == nil ? 1 : 2 }

        /// Blocks of query rows of a sequence, and the keys that each is multiplied with: if causal, those up to its last
        /// row.
        var attentionBlocks: [(rows: Int, keys: Int)] { blocks { isCausal ? $0 : s } }
        /// The same of attention to a source of `length` tokens.
        func attentionBlocks(toSource length: Int) -> [(rows: Int, keys: Int)] { blocks { _ in length } }

        private func blocks(_ keys: (Int) -> Int) -> [(rows: Int, keys: Int)] {
            stride(from: 0, to: s, by: ModelConfig.attentionBlockRows).map { first in
                let end = min(first + ModelConfig.attentionBlockRows, s)
                return (end - first, keys(end))
            }
        }
    }

    /// b sequences; width h, d_ff f, a heads of width d, of keys kv wide together, vocabulary V; what is before the
    /// activation is `hidden` wide, and t tokens reach the head.
    struct Sizes {
        let b, h, f, hidden, a, d, kv, vocab: Int
        /// Heads of queries that share one of keys and values.
        let group: Int
        let encoder: StackSizes?
        /// The stack in front of the head.
        let last: StackSizes
        var stacks: [StackSizes] { [encoder, last].compactMap { $0 } }
        var t: Int { last.t }
        let recomputes, drops, hasBiases, isPost, hasFinalNorm, isRotary: Bool
        let hasTypes, hasEmbeddingNorm, hasTransform: Bool
        /// Whether activations are kept in 16 bits.
        let isHalf: Bool
        /// Whether products in tiles take activations as they are kept.
        let takesHalves: Bool
        let matmul: PrecisionConfig.MatMulPrecision
        let activation, ungated: (forward: RowKernel, backward: RowKernel)
        let norm: (forward: RowKernel, ofSum: RowKernel, backward: RowKernel)

        init(_ model: ModelConfig, microBatch: Int, _ precision: PrecisionConfig) {
            isHalf = precision.activations != .fp32
            takesHalves = precision.takesKept
            matmul = precision.matmul
            (b, h) = (microBatch, model.dModel)
            (f, a, vocab) = (model.dFF, model.numHeads, model.vocabSize)
            let source = (s: model.sourceLength, t: microBatch * model.sourceLength)
            let isPair = model.family == .encoderDecoder
            encoder =
                isPair
                ? StackSizes(layers: model.encoderLayers, t: source.t, s: source.s, isCausal: false) : nil
            last = StackSizes(
                layers: model.numLayers, t: microBatch * model.contextLength, s: model.contextLength,
                isCausal: model.family != .encoder, source: isPair ? source : nil)
            d = h / a
            recomputes = model.attention == .recomputed
            drops = model.dropout > 0
            kv = model.numKVHeads * d
            group = a / model.numKVHeads
            hidden = model.gated ? 2 * f : f
            hasBiases = model.biases
            isPost = model.norm == .post
            hasFinalNorm = model.finalNorm
            isRotary = model.positions == .rotary
            hasTypes = model.tokenTypes > 0
            hasEmbeddingNorm = model.embeddingNorm
            hasTransform = model.headTransform
            ungated = model.activation.kernels(gated: false)
            activation = model.activation.kernels(gated: model.gated)
            norm =
                model.normType == .layer
                ? (.layerNormForward, .layerNormOfSum, .layerNormBackward)
                : (.rmsNormForward, .rmsNormOfSum, .rmsNormBackward)
        }
    }
}

extension ModelConfig.Activation {
    fileprivate func kernels(gated: Bool) -> (forward: RowKernel, backward: RowKernel) {
        switch self {
        case .gelu: gated ? (.gatedGeluForward, .gatedGeluBackward) : (.geluForward, .geluBackward)
        case .geluErf:
            gated ? (.gatedGeluErfForward, .gatedGeluErfBackward) : (.geluErfForward, .geluErfBackward)
        case .relu: gated ? (.gatedReluForward, .gatedReluBackward) : (.reluForward, .reluBackward)
        case .silu: gated ? (.gatedSiluForward, .gatedSiluBackward) : (.siluForward, .siluBackward)
        }
    }
}

extension OptimizerConfig {
    fileprivate var kernel: RowKernel {
        switch name {
        case .sgd: momentum > 0 ? .sgdMomentum : .sgd
        case .adam: .adam
        case .adamw: .adamW
        case .rmsprop: momentum > 0 ? .rmsPropMomentum : .rmsProp
        case .adagrad: .adaGrad
        }
    }
}
