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
    /// What `matmul` rounds to; nil where it multiplies in fp32.
    var tiles: TilePrecision? = nil

    /// The most multiply-adds of a sample; larger products run at the rate of the largest.
    private var most: Double { 1.0e9 * Double(threads) }
    private let mostElements = OperandPool.bytes / 4 / 2

    /// By role: products over activations, hot and cold.
    func measure(
        samples count: Int, on ranks: borrowing Communicator, progress: (Double) -> Void
    ) throws -> [String: ProductModel] {
        var hot: [Product.Role: [ProductModel.Sample]] = [:]
        var cold: [Product.Role: [ProductModel.Sample]] = [:]
        for (index, shape) in shapes(count).enumerated() {
            meter.sample()
            // The roles take turns, so that a drift of the machine is not mistaken for a difference between them.
            for role in Product.Role.allCases {
                let product = Product(role, m: shape.m, n: shape.n, k: shape.k)
                let times = try time(product, on: ranks)
                hot[role, default: []].append(.init(m: shape.m, n: shape.n, k: shape.k, seconds: times.hot))
                cold[role, default: []].append(.init(m: shape.m, n: shape.n, k: shape.k, seconds: times.cold))
            }
            progress(Double(index + 1) / Double(count))
        }
        return Dictionary(
            uniqueKeysWithValues: Product.Role.allCases.map { role in
                (role.rawValue, ProductModel(hot: .init(hot[role]!), cold: .init(cold[role]!)))
            })
    }

    /// By role: products within a head of width d, of a block of query rows and s keys, whose operands are columns of
    /// wider matrices.
    func measureHeads(on ranks: borrowing Communicator) throws -> [String: ProductModel.Fit] {
        var samples: [Product.Role: [ProductModel.Sample]] = [:]
        for s in [32, 64, 96, 128, 192, 256, 384, 512, 768, 1024] {
            for d in [16, 32, 64, 96, 128] {
                meter.sample()
                for role in Product.Role.allCases {
                    let rows = min(s, ModelConfig.attentionBlockRows)
                    let (m, n, k) =
                        switch role {
                        case .forward: (rows, s, d)
                        case .inputGradient: (rows, d, s)
                        case .weightGradient: (s, d, rows)
                        }
                    let time = try mean(timeHead(role, rows: rows, s: s, d: d), on: ranks)
                    samples[role, default: []].append(.init(m: m, n: n, k: k, seconds: time))
                }
            }
        }
        return Dictionary(
            uniqueKeysWithValues: samples.map { ($0.key.rawValue, ProductModel.Fit($0.value)) })
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

    private func time(
        _ product: Product, on ranks: borrowing Communicator
    ) throws -> (hot: Double, cold: Double) {
        let repetitions = product.flops > 4e8 * Double(threads) ? 2 : 4
        try ranks.barrier()
        let cold = (0..<repetitions).map { _ in run(product) }
        var hot: [Double] = []
        for repetition in 0...repetitions {
            pool.rewind()
            let time = run(product)
            if repetition > 0 { hot.append(time) }
        }
        return (try mean(hot.median, on: ranks), try mean(cold.median, on: ranks))
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

    private func timeHead(_ role: Product.Role, rows: Int, s: Int, d: Int) -> Double {
        let width = max(384, 4 * d)
        // A head is one thread's.
        let matmul = matmul.members[0]
        let times = (0..<6).map { _ in
            pool.rewind()
            let scores = pool.matrix(rows, s)
            let keys = pool.matrix(s, d, stride: 3 * width)
            let queries = pool.matrix(rows, d, stride: 3 * width)
            return switch role {
            case .forward: seconds { matmul.forward(queries, weight: keys, into: scores) }
            case .inputGradient: seconds { matmul.inputGradient(scores, weight: keys, into: queries) }
            case .weightGradient: seconds { matmul.weightGradient(scores, queries, into: keys) }
            }
        }
        return Array(times.dropFirst()).median
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
