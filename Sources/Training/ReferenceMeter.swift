import Cost
import Kernels
import Ledger
import MessagePassing

/// A short product and a copy, always the same, repeated now and then between other work: how fast this rank is at the
/// time, to set beside how fast it was when it was calibrated.
package final class ReferenceMeter {
    private let matmul: MatMul
    private let operands: AlignedBuffer<Float>
    private let squares: [Matrix]
    private let copied: AlignedBuffer<Float>
    /// Seconds of the last sample; nil before the first.
    package private(set) var last: (product: Double, copy: Double)?
    /// Seconds of each sample; when there are too many, every other one goes.
    private var products: [Double] = []
    private var copies: [Double] = []

    /// Just beyond a core's own cache.
    private static let copyBytes = 2 << 20
    private static let mostSamples = 256
    /// Of 20 µs each: the first ones are slower.
    private static let copiesOfSample = 16

    /// Allocates all that it will ever need. Products are split over `team`.
    package init(backend: any MatMulBackend, team: ThreadTeam) throws {
        matmul = MatMul(backend: backend, team: team)
        let size = ReferenceSpeed.product.m
        let operands = try AlignedBuffer<Float>(count: 3 * size * size)
        squares = (0..<3).map { index in
            operands.vector.slice(index * size * size..<(index + 1) * size * size)
                .matrix(rows: size, columns: size)
        }
        self.operands = operands
        copied = try AlignedBuffer<Float>(count: Self.copyBytes / 4)
        products.reserveCapacity(Self.mostSamples)
        copies.reserveCapacity(Self.mostSamples)
    }

    /// Forgets all samples.
    package func reset() {
        products.removeAll(keepingCapacity: true)
        copies.removeAll(keepingCapacity: true)
    }

    /// Takes a sample: two or three milliseconds. Returns whether every other sample has gone to make room.
    @discardableResult
    package func sample() -> Bool {
        let product = time(2, after: 2) {
            matmul.forward(squares[0], weight: squares[1], into: squares[2])
        }
        let half = copied.count / 2
        let copy = time(Self.copiesOfSample, after: 8) {
            (copied.base + half).update(from: copied.base, count: half)
        }
        last = (product, copy)
        products.append(product)
        copies.append(copy)
        guard products.count == Self.mostSamples else { return false }
        for index in 0..<Self.mostSamples / 2 {
            products[index] = products[2 * index]
            copies[index] = copies[2 * index]
        }
        products.removeLast(Self.mostSamples / 2)
        copies.removeLast(Self.mostSamples / 2)
        return true
    }

    /// Of the middle of the samples; at least one must have been taken.
    private var typical: ReferenceSpeed {
        let (products, copies) = (products.sorted(), copies.sorted())
        let rates = Self.rates(product: products[products.count / 2], copy: copies[copies.count / 2])
        return ReferenceSpeed(
            flopsPerSecond: rates.flopsPerSecond, copyBytesPerSecond: rates.copyBytesPerSecond,
            productSpread: spread(products), copySpread: spread(copies))
    }

    /// Of a product and a copy that take so many seconds.
    package static func rates(product: Double, copy: Double) -> StepSample.Speed {
        let size = Double(ReferenceSpeed.product.m)
        // A copy reads and writes every byte.
        return StepSample.Speed(
            flopsPerSecond: 2 * size * size * size / product, copyBytesPerSecond: Double(copyBytes) / copy)
    }

    /// How fast every rank typically was, on every rank. Collective.
    package func speeds(on ranks: borrowing Communicator) throws -> [ReferenceSpeed] {
        try Self.gather(typical, on: ranks)
    }

    /// How fast every rank was at its last sample and at the one before it, which took `before`: the speed of what was done
    /// between the two. Collective.
    package func speeds(
        since before: (product: Double, copy: Double), on ranks: borrowing Communicator
    ) throws -> [ReferenceSpeed] {
        let last = last ?? before
        let rates = Self.rates(
            product: (before.product + last.product) / 2, copy: (before.copy + last.copy) / 2)
        return try Self.gather(ReferenceSpeed(rates), on: ranks)
    }

    /// The speeds of all ranks. Collective.
    private static func gather(
        _ speed: ReferenceSpeed, on ranks: borrowing Communicator
    ) throws -> [ReferenceSpeed] {
        let own = [speed.flopsPerSecond, speed.copyBytesPerSecond, speed.productSpread, speed.copySpread]
        var all = [Double](repeating: 0, count: own.count * ranks.size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try ranks.allgather(own, into: $0) }
        }
        return stride(from: 0, to: all.count, by: own.count).map { first in
            ReferenceSpeed(
                flopsPerSecond: all[first], copyBytesPerSecond: all[first + 1], productSpread: all[first + 2],
                copySpread: all[first + 3])
        }
    }

    /// Mean seconds of each of `repetitions` calls, after `idle` ones that bring what they need into the caches.
    private func time(_ repetitions: Int, after idle: Int, _ body: () -> Void) -> Double {
        for _ in 0..<idle { body() }
        let start = ContinuousClock.now
        for _ in 0..<repetitions { body() }
        return (ContinuousClock.now - start) / .seconds(1) / Double(repetitions)
    }

    /// Half the distance between the 10th and the 90th percentile, over the median.
    private func spread(_ sorted: [Double]) -> Double {
        (sorted[sorted.count * 9 / 10] - sorted[sorted.count / 10]) / 2 / sorted[sorted.count / 2]
    }
}
