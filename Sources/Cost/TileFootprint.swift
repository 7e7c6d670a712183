import Configs

extension PrecisionConfig {
    /// Products that stand for one where it is done in tiles: of `high` in bf16 hi·hi + hi·lo + lo·hi (Henry et al. 2019).
    var executedProducts: Int { matmul == .high ? productsOfHigh : 1 }
}

extension PrecisionConfig.MatMulPrecision {
    /// Bytes of a number in tiles; nil where products are BLAS's.
    fileprivate var packedBytes: Int? {
        switch self {
        case .highest: nil
        case .medium: 2
        // Rounded and what rounding leaves, or in fp32.
        case .high: 4
        }
    }

    /// Whether `product` is done in tiles: not if packing it costs more than tiles save.
    func isInTiles(_ product: Product) -> Bool {
        self != .highest && isLarge(product.m, product.n, product.k)
    }
}

/// Bytes of operands packed into tiles of 32 × 32 numbers.
struct TileFootprint {
    /// Weights, as both products read them that go through their layers; 0 where they are packed again by every product.
    let weights: Count
    /// Whether they are.
    let packsAgain: Bool
    /// Bytes up to which they are kept.
    private static let mostKept = 128 << 20
    /// Products of `medium` that are summed at a time; sums over more are in parts, which are in fp32.
    static let mostDepth = 1024
    /// What each thread packs for itself: the operands of a product on their way, the most that any one needs, and keys and
    /// values of a head.
    let packing: Count

    init(_ config: RunConfig, microBatch: Int) {
        let model = config.model
        guard let bytes = config.precision.matmul.packedBytes else {
            (weights, packing, packsAgain) = (0, 0, false)
            return
        }
        let sizes = [
            model.dModel, model.dFF, model.vocabSize, model.contextLength, model.sourceLength, microBatch,
        ]
        guard sizes.allSatisfy({ $0 < 1 << 30 }) else {
            // More than can be counted, which the caller says.
            (weights, packing, packsAgain) = (Count(.max) * 2, 0, false)
            return
        }
        func tiles(_ rows: Int, _ depth: Int) -> Count {
            Count(bytes) * Count((rows + 31) / 32 * 32) * Count((depth + 31) / 32 * 32)
        }
        var (weights, packing, head) = (Count(0), Count(0), Count(0))
        // Of the operand with fewer rows or columns at most 4,096 of them at a time, 2 KiB deep, and of the other one 256.
        func add(_ m: Int, _ n: Int, _ k: Int) {
            guard isLarge(m, n, k) else { return }
            let depth = min(k, 2 * Self.mostDepth / bytes)
            packing = Count.max(packing, tiles(min(m, n, 4096), depth) + tiles(min(max(m, n), 256), depth))
        }
        func addWeight(_ n: Int, _ k: Int, rows: Int, count: Int) {
            add(rows, n, k)
            add(rows, k, n)
            add(n, k, rows)
            if isLarge(rows, n, k) || isLarge(rows, k, n) {
                weights = weights + Count(count) * (tiles(n, k) + tiles(k, n))
            }
        }
        let (h, f, d) = (model.dModel, model.dFF, model.dModel / model.numHeads)
        func addHeads(_ s: Int, keys: Int) {
            let block = min(s, ModelConfig.attentionBlockRows)
            add(block, keys, d)
            add(block, d, keys)
            add(keys, d, block)
            if isLarge(block, keys, d) || isLarge(block, d, keys) {
                head = Count.max(head, 2 * (tiles(keys, d) + tiles(d, keys)))
            }
        }
        // Of keys and values together.
        let kv = 2 * model.numKVHeads * d
        func addLayers(_ count: Int, _ s: Int) {
            for (n, k) in [(h + kv, h), (h, h), (model.gated ? 2 * f : f, h), (h, f)] {
                addWeight(n, k, rows: microBatch * s, count: count)
            }
            addHeads(s, keys: s)
        }
        let (s, source) = (model.contextLength, model.sourceLength)
        let tokens = microBatch * s
        addLayers(model.numLayers, s)
        if model.family == .encoderDecoder {
            addLayers(model.encoderLayers, source)
            addWeight(h, h, rows: tokens, count: 2 * model.numLayers)
            addWeight(kv, h, rows: microBatch * source, count: model.numLayers)
            addHeads(s, keys: source)
        }
        if model.headTransform { addWeight(h, h, rows: tokens, count: 1) }
        addWeight(model.vocabSize, h, rows: min(tokens, ModelConfig.logitsBlockRows), count: 1)
        packsAgain = weights.exceeds(Self.mostKept)
        self.weights = packsAgain ? 0 : weights
        self.packing = Count(config.parallel.threadsPerRank) * (packing + head)
    }
}

/// Whether a product of [m,k] by [k,n] gains by tiles.
private func isLarge(_ m: Int, _ n: Int, _ k: Int) -> Bool {
    m >= 8 && n >= 16 && k >= 32 && Double(m) * Double(n) * Double(k) >= 32 * 32 * 32
}
