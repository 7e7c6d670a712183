import Configs
import Cost
import Foundation
import Kernels
import MessagePassing
import Training

/// Times matrix products over shapes that Transformers have, with all active ranks at work at once.
struct ProductSweep {
    let matmul: MatMul
    let pool: OperandPool
    /// Takes samples between the products.
    let meter: ReferenceMeter
    /// The speed that times are to hold at; nil for the sweep's own typical one.
    var reference: ReferenceSpeed? = nil
    /// The most multiply-adds of a sample, but for heads; larger products run at the rate of the largest.
    let most: Double
    /// What `matmul` rounds to; nil where it multiplies in fp32.
    var tiles: TilePrecision? = nil
    /// Whether operands, and results that layers keep, are in bf16.
    var takesKept = false

    /// `most` for ranks that are as fast as `speed`: a fortieth of a second's, so that no machine takes long.
    static func most(at speed: ReferenceSpeed, threads: Int) -> Double {
        min(1e9 * Double(threads), 0.0125 * speed.flopsPerSecond)
    }

    /// Every product is timed in each of them: what slows a core down for a moment has passed by the next one.
    private static let rounds = 2

    /// By role: products over activations, hot and cold. Collective.
    func measure(
        samples count: Int, on ranks: borrowing Communicator, progress: (Double) -> Void
    ) throws -> [String: ProductModel] {
        let products = shapes(count).flatMap(\.products)
        let times = try typicalSeconds(of: products, on: ranks, progress: progress, time)
        let parts = products.map { $0.largestPart(among: matmul.members.count) }
        let hot = samples(of: parts, times.map(\.x))
        let cold = samples(of: parts, times.map(\.y))
        return Dictionary(
            uniqueKeysWithValues: Product.Role.allCases.map { role in
                (role.rawValue, ProductModel(cold: cold[role]!, hot: hot[role]!))
            })
    }

    /// Typical seconds of each of `products`. Collective.
    private func typicalSeconds(
        of products: [Product], on ranks: borrowing Communicator, progress: (Double) -> Void = { _ in },
        _ time: (Product) -> SIMD2<Double>
    ) throws -> [SIMD2<Double>] {
        let times = RelativeTimes(count: products.count, meter: meter)
        // Between two samples there is some multiple of a sample's own work, the same on all ranks.
        let stretch = 8 * ReferenceSpeed.product.flops
        var work = 0.0
        for round in 0..<Self.rounds {
            for (index, product) in products.enumerated() {
                try ranks.barrier()
                // The shorter one is, the more its time varies.
                let repetitions = Self.isShort(product) ? 3 : 1
                for _ in 0..<repetitions { times.add(time(product), of: index) }
                work += Double(repetitions * (1 + Self.hotCalls(product))) * product.flops
                if work > stretch || index == products.count - 1 {
                    times.close()
                    work = 0
                }
            }
            progress(Double(round + 1) / Double(Self.rounds))
        }
        return try times.products(
            at: reference ?? ReferenceSpeed.mean(of: meter.speeds(on: ranks)), on: ranks)
    }

    /// By role.
    private func samples(
        of parts: [ProductPart], _ seconds: [Double]
    ) -> [Product.Role: [ProductModel.Sample]] {
        var samples: [Product.Role: [ProductModel.Sample]] = [:]
        for (part, seconds) in zip(parts, seconds) {
            samples[part.product.role, default: []].append(.init(part, seconds: seconds))
        }
        return samples
    }

    /// By role: products within a head of width d, of a block of query rows and s keys, whose operands are columns of
    /// wider matrices. Collective.
    func measureHeads(on ranks: borrowing Communicator) throws -> [String: ProductModel.Fit] {
        let all = [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024].flatMap { s in
            [16, 32, 64, 96, 128].flatMap { d in
                let rows = min(s, ModelConfig.attentionBlockRows)
                return [
                    Product(.forward, m: rows, n: s, k: d), Product(.inputGradient, m: rows, n: d, k: s),
                    Product(.weightGradient, m: s, n: d, k: rows),
                ]
            }
        }
        // Those too small for tiles are timed in fp32.
        let products = all.filter { tiles == nil || !TileMatMul.isSmall(m: $0.m, n: $0.n, k: $0.k) }
        let times = try typicalSeconds(of: products, on: ranks) { SIMD2(repeating: timeHead($0)) }
        // Each is one thread's.
        return samples(of: products.map { $0.largestPart(among: 1) }, times.map(\.x)).reduce(into: [:]) {
            $0[$1.key.rawValue] = ProductModel.Fit($1.value)
        }
    }

    /// A linear map over some tokens, whose three products are timed.
    private struct Shape {
        var tokens: Int
        var inputs: Int
        var outputs: Int

        var multiplyAdds: Double { Double(tokens) * Double(inputs) * Double(outputs) }

        var products: [Product] {
            [
                Product(.forward, m: tokens, n: outputs, k: inputs),
                Product(.inputGradient, m: tokens, n: inputs, k: outputs),
                Product(.weightGradient, m: outputs, n: inputs, k: tokens),
            ]
        }
    }

    /// Extents spread evenly over the logarithms of those that Transformers have by a low-discrepancy sequence (Roberts
    /// 2018), without products that are too large. Beside them, heads with large vocabularies.
    private func shapes(_ count: Int) -> [Shape] {
        // Larger ones than others, since models have no smaller ones.
        var shapes = Self.heads.map { head in
            var head = head
            head.outputs = min(head.outputs, max(32, 3 * Int(most) / (head.tokens * head.inputs)))
            return head
        }
        shapes += Self.small
        func extent(_ step: Double, _ index: Int, of range: ClosedRange<Double>) -> Int {
            let position = (0.5 + step * Double(index)).truncatingRemainder(dividingBy: 1)
            let (low, high) = (log(range.lowerBound), log(range.upperBound))
            return max(32, Int(exp(low + (high - low) * position)) / 16 * 16)
        }
        var index = 0
        while shapes.count < count {
            index += 1
            let shape = Shape(
                tokens: extent(0.8191725133961645, index, of: 48...2048),
                inputs: extent(0.5497004779019703, index, of: 40...3584),
                outputs: extent(0.6710436067037893, index, of: 40...3584))
            if shape.multiplyAdds <= most { shapes.append(shape) }
        }
        return shapes
    }

    // Most have as many rows as a block of logits. Tiles are 32 deep: a narrow head that does not fill them takes longer.
    private static let heads = [
        Shape(tokens: 256, inputs: 96, outputs: 48_000), Shape(tokens: 256, inputs: 160, outputs: 40_000),
        Shape(tokens: 256, inputs: 224, outputs: 32_000), Shape(tokens: 256, inputs: 544, outputs: 16_000),
        Shape(tokens: 128, inputs: 352, outputs: 24_000),
    ]

    // Of models that are a few dozen wide, whose calls cost more than their multiply-adds. The sequence has hardly any.
    private static let small = [
        Shape(tokens: 32, inputs: 32, outputs: 96), Shape(tokens: 48, inputs: 32, outputs: 32),
        Shape(tokens: 80, inputs: 48, outputs: 48), Shape(tokens: 48, inputs: 80, outputs: 256),
        Shape(tokens: 112, inputs: 64, outputs: 192), Shape(tokens: 256, inputs: 80, outputs: 80),
        Shape(tokens: 96, inputs: 192, outputs: 48), Shape(tokens: 320, inputs: 48, outputs: 160),
    ]

    private static func isShort(_ product: Product) -> Bool {
        product.flops < ReferenceSpeed.product.flops
    }

    /// Calls with operands from memory leave little else in the caches. Of short products, which small models have many of, the
    /// first after one still takes up to a fifth longer than what follows.
    private static func hotCalls(_ product: Product) -> Int { isShort(product) ? 3 : 1 }

    /// Seconds of a call with the operands of the calls before it, and of the first, whose operands no cache holds.
    private func time(_ product: Product) -> SIMD2<Double> {
        let start = pool.position
        let cold = run(product)
        var hot = cold
        for _ in 0..<Self.hotCalls(product) {
            pool.position = start
            hot = run(product)
        }
        return SIMD2(hot, cold)
    }

    private func run(_ product: Product) -> Double {
        let (m, n, k) = (product.m, product.n, product.k)
        switch product.role {
        case .forward:
            let (a, b) = (operand(m, k, of: product), weight(n, k))
            let c = isGiven(product) ? operand(m, n, of: product) : .full(pool.matrix(m, n))
            return seconds { matmul.forward(a, weight: b, into: c) }
        case .inputGradient:
            let (a, b, c) = (operand(m, k, of: product), weight(k, n), pool.matrix(m, n))
            return seconds { matmul.inputGradient(a, weight: b, into: .full(c)) }
        case .weightGradient:
            let (a, b, c) = (operand(k, m, of: product), operand(k, n, of: product), pool.matrix(m, n))
            return seconds { matmul.weightGradient(a, b, into: c) }
        }
    }

    /// A matrix as `product` takes it.
    private func operand(_ rows: Int, _ columns: Int, stride: Int? = nil, of product: Product) -> StoredMatrix
    {
        guard isTaken(product) else {
            return .full(pool.matrix(rows, columns, stride: stride))
        }
        let space = (stride ?? columns + 1) / 2
        let base = UnsafeMutableRawPointer(pool.matrix(rows, space).base).assumingMemoryBound(to: UInt16.self)
        return .half(MatrixView(base: base, rows: rows, columns: columns, stride: 2 * space), .bf16)
    }

    /// Whether layers have a product write what they keep.
    private func isGiven(_ product: Product) -> Bool {
        isTaken(product) && matmul.gives(.bf16, depth: product.k)
    }

    /// Whether it reads what they keep as it is.
    private func isTaken(_ product: Product) -> Bool {
        takesKept && matmul.takes(.bf16, product.m, product.n, product.k)
    }

    /// A weight `[n, k]`; where products are done in tiles, what lies in the pool passes for a packed one.
    private func weight(_ n: Int, _ k: Int) -> Weight {
        guard let tiles else { return Weight(pool.matrix(n, k)) }
        let storage = pool.vector(PackedWeight.byteCount(n: n, k: k, precision: tiles) / 4)
        // Nobody reads the matrix itself.
        return Weight(
            Matrix(base: storage.base, rows: n, columns: k), packed: packed(n, k, tiles, in: storage))
    }

    private func packed(_ n: Int, _ k: Int, _ precision: TilePrecision, in storage: Vector) -> PackedWeight {
        storage.base.withMemoryRebound(to: UInt8.self, capacity: 4 * storage.count) {
            PackedWeight(
                n: n, k: k, precision: precision, in: VectorView(base: $0, count: 4 * storage.count))
        }
    }

    /// Keys or values `[s, d]` of a head, as `product` takes them.
    private func headWeight(_ s: Int, _ d: Int, of product: Product) -> Weight {
        let matrix = operand(s, d, stride: Self.headStride(d), of: product)
        return Weight(
            matrix,
            packed: tiles.map {
                packed(s, d, $0, in: pool.vector(PackedWeight.byteCount(n: s, k: d, precision: $0) / 4))
            })
    }

    /// From a row of a head of width `d` to the next, among queries, keys and values of all heads.
    private static func headStride(_ d: Int) -> Int { 3 * max(384, 4 * d) }

    /// Seconds to pack an element of a head's keys or values for one product. Collective.
    func headPacking(on ranks: borrowing Communicator) throws -> Double {
        let (s, d) = (256, 64)
        pool.rewind()
        let weight = headWeight(s, d, of: Product(.forward, m: ModelConfig.attentionBlockRows, n: s, k: d))
        let times = (0..<9).map { _ in seconds { matmul.members[0].pack(weight) } }
        return try mean(times.median, on: ranks) / Double(2 * s * d)
    }

    /// Seconds of a call after one with the same operands.
    private func timeHead(_ product: Product) -> Double {
        let (m, n, k) = (product.m, product.n, product.k)
        let (rows, s, d) =
            switch product.role {
            case .forward: (m, n, k)
            case .inputGradient: (m, k, n)
            case .weightGradient: (k, m, n)
            }
        let stride = Self.headStride(d)
        // A head is one thread's.
        let matmul = matmul.members[0]
        func call() -> Double {
            pool.rewind()
            let scores = pool.matrix(rows, s)
            let queries = operand(rows, d, stride: stride, of: product)
            switch product.role {
            case .forward:
                let keys = headWeight(s, d, of: product)
                return seconds { matmul.forward(queries, weight: keys, into: .full(scores)) }
            case .inputGradient:
                let keys = headWeight(s, d, of: product)
                let output = isGiven(product) ? queries : .full(pool.matrix(rows, d, stride: stride))
                return seconds { matmul.inputGradient(.full(scores), weight: keys, into: output) }
            case .weightGradient:
                // In memory of their own where activations are in 16 bits.
                let keys = takesKept ? pool.matrix(s, d) : pool.matrix(s, d, stride: stride)
                return seconds { matmul.weightGradient(.full(scores), queries, into: keys) }
            }
        }
        _ = call()
        return call()
    }
}

/// The mean of every rank's `value`, on every rank.
func mean(_ value: Double, on ranks: borrowing Communicator) throws -> Double {
    try withUnsafeTemporaryAllocation(of: Double.self, capacity: 1) { sum in
        sum[0] = value
        try ranks.allreduce(inPlace: sum, .sum)
        return sum[0] / Double(ranks.size)
    }
}
