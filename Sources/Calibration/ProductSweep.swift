import Configs
import Cost
import Foundation
import Kernels
import MessagePassing
import Training

/// Times matrix products over shapes of all proportions, with all active ranks at work at once.
struct ProductSweep {
    let matmul: MatMul
    let pool: OperandPool
    /// Takes samples between the products.
    let meter: ReferenceMeter
    let threads: Int
    /// The most multiply-adds of a sample; larger products run at the rate of the largest.
    let most: Double
    /// What `matmul` rounds to; nil where it multiplies in fp32.
    var tiles: TilePrecision? = nil

    /// `most` for ranks that are as fast as `speed`: a fiftieth of a second's, so that no machine takes long.
    static func most(at speed: ReferenceSpeed, threads: Int) -> Double {
        min(1e9 * Double(threads), 0.01 * speed.flopsPerSecond)
    }

    private let mostElements = OperandPool.bytes / 4 / 2

    /// Every product is timed in each of them: what slows a core down for a moment has passed by the next one.
    private static let rounds = 2

    /// By role: products over activations, hot and cold.
    func measure(
        samples count: Int, on ranks: borrowing Communicator, progress: (Double) -> Void
    ) throws -> [String: ProductModel] {
        let products = shapes(count).flatMap { shape in
            Product.Role.allCases.map { Product($0, m: shape.m, n: shape.n, k: shape.k) }
        }
        let times = try shortest(of: products, progress: progress) { product in
            try ranks.barrier()
            return time(product)
        }
        let hot = try samples(of: products, times.map(\.x), on: ranks)
        let cold = try samples(of: products, times.map(\.y), on: ranks)
        return Dictionary(
            uniqueKeysWithValues: Product.Role.allCases.map { role in
                (role.rawValue, ProductModel(hot: .init(hot[role]!), cold: .init(cold[role]!)))
            })
    }

    /// The shortest seconds of all rounds, of each of `products`.
    private func shortest(
        of products: [Product], progress: (Double) -> Void = { _ in },
        _ time: (Product) throws -> SIMD2<Double>
    ) throws -> [SIMD2<Double>] {
        var shortest = [SIMD2<Double>](repeating: .init(repeating: .infinity), count: products.count)
        for round in 0..<Self.rounds {
            for (index, product) in products.enumerated() {
                // The roles of a shape take turns.
                if index.isMultiple(of: Product.Role.allCases.count) { meter.sample() }
                shortest[index] = pointwiseMin(shortest[index], try time(product))
            }
            progress(Double(round + 1) / Double(Self.rounds))
        }
        return shortest
    }

    /// By role: what `products` typically take on the ranks, if these are their shortest `times` here. Collective.
    private func samples(
        of products: [Product], _ times: [Double], on ranks: borrowing Communicator
    ) throws -> [Product.Role: [ProductModel.Sample]] {
        let slowdown = meter.slowdown
        var samples: [Product.Role: [ProductModel.Sample]] = [:]
        for (product, time) in zip(products, times) {
            samples[product.role, default: []].append(
                .init(m: product.m, n: product.n, k: product.k, seconds: try mean(slowdown * time, on: ranks))
            )
        }
        return samples
    }

    /// By role: products within a head of width d, of a block of query rows and s keys, whose operands are columns of
    /// wider matrices.
    func measureHeads(on ranks: borrowing Communicator) throws -> [String: ProductModel.Fit] {
        let products = [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024].flatMap { s in
            [16, 32, 64, 96, 128].flatMap { d in
                let rows = min(s, ModelConfig.attentionBlockRows)
                return [
                    Product(.forward, m: rows, n: s, k: d), Product(.inputGradient, m: rows, n: d, k: s),
                    Product(.weightGradient, m: s, n: d, k: rows),
                ]
            }
        }
        let times = try shortest(of: products) { SIMD2(repeating: timeHead($0)) }
        return try samples(of: products, times.map(\.x), on: ranks).reduce(into: [:]) {
            $0[$1.key.rawValue] = ProductModel.Fit($1.value)
        }
    }

    /// Extents spread evenly over the logarithms of 32 … 16,384 by a low-discrepancy sequence (Roberts 2018), without
    /// products that are too large.
    /// Beside them, those of heads with large vocabularies.
    private func shapes(_ count: Int) -> [(m: Int, n: Int, k: Int)] {
        let steps = [0.8191725133961645, 0.6710436067037893, 0.5497004779019703]
        let (low, high) = (log(32.0), log(16_384.0))
        var shapes = Self.headShapes
        var index = 0
        while shapes.count < count {
            index += 1
            let extents = steps.map { step in
                let position = (0.5 + step * Double(index)).truncatingRemainder(dividingBy: 1)
                return max(32, Int(exp(low + (high - low) * position)) / 16 * 16)
            }
            let (m, n, k) = (extents[0], extents[1], extents[2])
            guard Double(m) * Double(n) * Double(k) <= most, m * n + n * k + m * k <= mostElements else {
                continue
            }
            shapes.append((m, n, k))
        }
        return shapes
    }

    private static let headShapes = [(256, 30_000, 64), (128, 24_000, 192)].flatMap {
        tokens, vocabulary, width in
        [(tokens, vocabulary, width), (tokens, width, vocabulary), (vocabulary, width, tokens)]
    }

    /// The shortest seconds of a few calls, hot and cold.
    private func time(_ product: Product) -> SIMD2<Double> {
        let repetitions = product.flops > 4e8 * Double(threads) ? 1 : 2
        var shortest = SIMD2<Double>(repeating: .infinity)
        for _ in 0..<repetitions { shortest.y = min(shortest.y, run(product)) }
        for repetition in 0...repetitions {
            pool.rewind()
            let time = run(product)
            if repetition > 0 { shortest.x = min(shortest.x, time) }
        }
        return shortest
    }

    private func run(_ product: Product) -> Double {
        let (m, n, k) = (product.m, product.n, product.k)
        switch product.role {
        case .forward:
            let (a, b, c) = (pool.matrix(m, k), weight(n, k), pool.matrix(m, n))
            return seconds { matmul.forward(a, weight: b, into: c) }
        case .inputGradient:
            let (a, b, c) = (pool.matrix(m, k), weight(k, n), pool.matrix(m, n))
            return seconds { matmul.inputGradient(a, weight: b, into: c) }
        case .weightGradient:
            let (a, b, c) = (pool.matrix(k, m), pool.matrix(k, n), pool.matrix(m, n))
            return seconds { matmul.weightGradient(a, b, into: c) }
        }
    }

    /// A weight `[n, k]`; where products are done in tiles, what lies in the pool passes for a packed one.
    private func weight(_ n: Int, _ k: Int) -> Weight {
        guard let tiles else { return Weight(pool.matrix(n, k)) }
        let bytes = PackedWeight.byteCount(n: n, k: k, precision: tiles)
        let storage = pool.vector(bytes / 4)
        let packed = storage.base.withMemoryRebound(to: UInt8.self, capacity: bytes) {
            PackedWeight(n: n, k: k, precision: tiles, in: VectorView(base: $0, count: bytes))
        }
        // Nobody reads the matrix itself.
        return Weight(Matrix(base: storage.base, rows: n, columns: k), packed: packed)
    }

    /// The shortest seconds of a few calls.
    private func timeHead(_ product: Product) -> Double {
        let (m, n, k) = (product.m, product.n, product.k)
        let (rows, s, d) =
            switch product.role {
            case .forward: (m, n, k)
            case .inputGradient: (m, k, n)
            case .weightGradient: (k, m, n)
            }
        let width = max(384, 4 * d)
        // A head is one thread's.
        let matmul = matmul.members[0]
        let times = (0..<3).map { _ in
            pool.rewind()
            let scores = pool.matrix(rows, s)
            let keys = pool.matrix(s, d, stride: 3 * width)
            let queries = pool.matrix(rows, d, stride: 3 * width)
            return switch product.role {
            case .forward: seconds { matmul.forward(queries, weight: keys, into: scores) }
            case .inputGradient: seconds { matmul.inputGradient(scores, weight: keys, into: queries) }
            case .weightGradient: seconds { matmul.weightGradient(scores, queries, into: keys) }
            }
        }
        return times.dropFirst().min()!
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
