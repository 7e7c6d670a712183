import Cost
import Kernels
import MessagePassing

/// A short product, a copy and an exchange between the ranks, always the same, repeated now and then between other work:
/// how fast this rank is at the time, to set beside how fast it was when it was calibrated.
package final class ReferenceMeter {
    private let matmul: MatMul
    private let operands: AlignedBuffer<Float>
    private let squares: [Matrix]
    private let copied: AlignedBuffer<Float>
    private var exchange: ReferenceExchange?
    private var productSeconds = Samples()
    private var copySeconds = Samples()
    /// Of the exchange, if there is one.
    private var bytesPerSecond = Samples()

    /// Just beyond a core's own cache.
    private static let copyBytes = 2 << 20
    /// Of 20 µs each: the first ones are slower.
    private static let copiesOfSample = 16

    /// Allocates all that it will ever need. Products are split over `team`; the exchange is between `ranks`. Collective.
    package init(
        backend: any MatMulBackend, team: ThreadTeam, on ranks: borrowing Communicator
    ) throws {
        matmul = MatMul(backend: backend, team: team)
        let size = ReferenceSpeed.product.m
        let operands = try AlignedBuffer<Float>(count: 3 * size * size)
        squares = (0..<3).map { index in
            operands.vector.slice(index * size * size..<(index + 1) * size * size)
                .matrix(rows: size, columns: size)
        }
        self.operands = operands
        copied = try AlignedBuffer<Float>(count: Self.copyBytes / 4)
        exchange = try ReferenceExchange.between(ranks)
    }

    /// Forgets all samples.
    package func reset() {
        productSeconds.removeAll()
        copySeconds.removeAll()
        bytesPerSecond.removeAll()
    }

    /// Takes a sample: three or four milliseconds. Returns whether every other sample has gone to make room. Collective.
    @discardableResult
    package func sample() throws -> Bool {
        let product = time(2, after: 2) {
            matmul.forward(squares[0], weight: squares[1], into: squares[2])
        }
        let half = copied.count / 2
        let copy = time(Self.copiesOfSample, after: 8) {
            (copied.base + half).update(from: copied.base, count: half)
        }
        try sampleExchange()
        _ = copySeconds.append(copy)
        return productSeconds.append(product)
    }

    /// Takes a sample of the exchange alone and returns its bytes per second; nil where there is none. Collective.
    @discardableResult
    package func sampleExchange() throws -> Double? {
        guard let rate = try exchange?.bytesPerSecond() else { return nil }
        _ = bytesPerSecond.append(rate)
        return rate
    }

    /// Typical seconds of a product over undisturbed ones: those in the middle of all over those in the middle of the
    /// quicker half, when nothing else shares the core.
    package var slowdown: Double { productSeconds.quantile(0.5) / productSeconds.quantile(0.25) }

    /// How fast every rank was in the middle of its samples, of which there are some, on every rank. Collective.
    package func speeds(on ranks: borrowing Communicator) throws -> [ReferenceSpeed] {
        let size = Double(ReferenceSpeed.product.m)
        let flops = 2 * size * size * size
        let product = flops / productSeconds.quantile(0.5)
        // A copy reads and writes every byte.
        let copy = Double(Self.copyBytes) / copySeconds.quantile(0.5)
        let exchanged = exchange == nil ? 0 : bytesPerSecond.quantile(0.5)
        let own: [Double] = [product, copy, exchanged, productSeconds.spread, copySeconds.spread]
        var all = [Double](repeating: 0, count: own.count * ranks.size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try ranks.allgather(own, into: $0) }
        }
        return (0..<ranks.size).map { rank -> ReferenceSpeed in
            let figures = Array(all[rank * own.count..<(rank + 1) * own.count])
            return ReferenceSpeed(
                flopsPerSecond: figures[0], copyBytesPerSecond: figures[1],
                exchangeBytesPerSecond: figures[2] > 0 ? figures[2] : nil,
                productSpread: figures[3], copySpread: figures[4])
        }
    }

    /// Mean seconds of each of `repetitions` calls, after `idle` ones that bring what they need into the caches.
    private func time(_ repetitions: Int, after idle: Int, _ body: () -> Void) -> Double {
        for _ in 0..<idle { body() }
        let start = ContinuousClock.now
        for _ in 0..<repetitions { body() }
        return (ContinuousClock.now - start) / .seconds(1) / Double(repetitions)
    }
}

/// Samples of a long run: when there are too many, every other one goes.
private struct Samples {
    private var values: [Double] = []
    private static let most = 256

    init() { values.reserveCapacity(Self.most) }

    mutating func removeAll() { values.removeAll(keepingCapacity: true) }

    /// Returns whether every other one has gone.
    mutating func append(_ value: Double) -> Bool {
        values.append(value)
        guard values.count == Self.most else { return false }
        for index in 0..<Self.most / 2 { values[index] = values[2 * index] }
        values.removeLast(Self.most / 2)
        return true
    }

    func quantile(_ share: Double) -> Double {
        let sorted = values.sorted()
        return sorted[Int(Double(sorted.count) * share)]
    }

    /// Half the distance between the 10th and the 90th percentile, over the median.
    var spread: Double { (quantile(0.9) - quantile(0.1)) / 2 / quantile(0.5) }
}
