import CTiles
import Cost
import Kernels
import Ledger
import MessagePassing

/// A short product, row kernels, a copy, what threads hand over to each other and, with the other ranks of the host, sums,
/// always the same, repeated now and then between other work: how fast this rank is at the time, to set beside how fast it
/// was when it was calibrated.
package final class ReferenceMeter {
    /// Seconds of a sample's parts.
    package struct Times {
        package var product: Double
        package var kernel: Double
        package var copy: Double
        /// Of several threads.
        var handover: Double?
        /// Of the samples that have them.
        var exchange: ReferenceExchange.Seconds?

        init(product: Double, kernel: Double, copy: Double, handover: Double?) {
            (self.product, self.kernel, self.copy, self.handover) = (product, kernel, copy, handover)
        }

        /// Each part of `samples`, at least one, combined into one figure.
        init(_ samples: [Times], combinedBy combine: ([Double]) -> Double) {
            product = combine(samples.map(\.product))
            kernel = combine(samples.map(\.kernel))
            copy = combine(samples.map(\.copy))
            let handovers = samples.compactMap(\.handover)
            handover = handovers.isEmpty ? nil : combine(handovers)
            let exchanges = samples.compactMap(\.exchange)
            guard !exchanges.isEmpty else { return }
            exchange = .init(
                cached: combine(exchanges.map(\.cached)), gradients: combine(exchanges.map(\.gradients)),
                shards: combine(exchanges.map(\.shards)))
        }

        /// The mean of `samples`, at least one.
        package static func mean(of samples: [Times]) -> Times {
            func mean(_ seconds: [Double]) -> Double { seconds.reduce(0, +) / Double(seconds.count) }
            return Times(samples, combinedBy: mean)
        }
    }

    private let matmul: MatMul
    private let team: ThreadTeam
    private let operands: AlignedBuffer<Float>
    private let squares: [Matrix]
    private let kernelOperands: AlignedBuffer<Float>
    private let copied: AlignedBuffer<Float>
    private let handed: AlignedBuffer<Float>
    /// What each thread has read of it, on a line of its own.
    private let sums: AlignedBuffer<Float>
    private let exchange: ReferenceExchange?
    /// The last sample; nil before the first.
    package private(set) var last: Times?
    /// When there are too many, every other one goes.
    private var samples: [Times] = []

    private static let mostSamples = 256

    /// Allocates all that it will ever need. The work is split over `team`, and sums are over `topology`.
    package init(backend: any MatMulBackend, team: ThreadTeam, topology: Topology) throws {
        exchange = try ReferenceExchange(over: topology)
        self.team = team
        matmul = MatMul(backend: backend, team: team)
        let size = ReferenceSpeed.product.m
        let operands = try AlignedBuffer<Float>(count: 3 * size * size)
        squares = (0..<3).map { index in
            operands.vector.slice(index * size * size..<(index + 1) * size * size)
                .matrix(rows: size, columns: size)
        }
        self.operands = operands
        let (rows, columns) = ReferenceSpeed.kernelShape
        kernelOperands = try AlignedBuffer<Float>(count: 2 * rows * columns + 2 * columns + 2 * rows)
        copied = try AlignedBuffer<Float>(count: 2 * ReferenceSpeed.copyBytes / 4)
        handed = try AlignedBuffer<Float>(count: team.count > 1 ? ReferenceSpeed.handoverBytes / 4 : 0)
        sums = try AlignedBuffer<Float>(count: 16 * team.count)
        samples.reserveCapacity(Self.mostSamples)
    }

    /// Forgets all samples.
    package func reset() { samples.removeAll(keepingCapacity: true) }

    /// Takes a sample with the other ranks: some milliseconds. Returns whether every other sample has gone to make room.
    /// Collective.
    @discardableResult
    package func sampleTogether() throws -> Bool {
        exchange?.prepare()
        var times = sampleParts()
        times.exchange = try exchange?.measure()
        return add(times)
    }

    /// The same without a sum over the ranks, which then need not wait for each other.
    @discardableResult
    package func sampleAlone() -> Bool { add(sampleParts()) }

    private func sampleParts() -> Times {
        Times(
            product: time(2, after: 2) { matmul.forward(squares[0], weight: squares[1], into: squares[2]) },
            kernel: kernels(8, after: 4),
            copy: (copyFromMemory() + copyFromMemory()) / 2,
            // So short that whatever interrupts one of them is longer.
            handover: team.count > 1 ? (0..<4).map { _ in handOver() }.min() : nil)
    }

    private func add(_ sample: Times) -> Bool {
        last = sample
        samples.append(sample)
        guard samples.count == Self.mostSamples else { return false }
        for index in 0..<Self.mostSamples / 2 { samples[index] = samples[2 * index] }
        samples.removeLast(Self.mostSamples / 2)
        return true
    }

    /// Mean seconds of each of `repetitions`, after `idle` ones. Every thread repeats its own rows: that threads wait for each
    /// other belongs to handovers.
    private func kernels(_ repetitions: Int, after idle: Int) -> Double {
        func repeated(_ repetitions: Int) {
            team.split(team.count, (self, repetitions)) { shared, _, member in
                let (meter, repetitions) = shared
                meter.applyKernels(repetitions, as: member)
            }
        }
        repeated(idle)
        return time(1, after: 0) { repeated(repetitions) } / Double(repetitions)
    }

    /// One that calculates, and one that looks at every row twice.
    private func applyKernels(_ repetitions: Int, as member: Int) {
        let (rows, columns) = ReferenceSpeed.kernelShape
        let all = kernelOperands.vector
        let count = rows * columns
        let own = team.share(of: rows, for: member)
        let x = all.slice(0..<count).matrix(rows: rows, columns: columns).rows(own)
        let y = all.slice(count..<2 * count).matrix(rows: rows, columns: columns).rows(own)
        let weight = all.slice(2 * count..<2 * count + columns)
        let bias = all.slice(2 * count + columns..<2 * (count + columns))
        let means = all.slice(2 * (count + columns)..<2 * (count + columns) + rows)
        let deviations = all.slice(2 * (count + columns) + rows..<2 * (count + columns + rows))
        // To count who uses it, call by call, would make threads wait for each other.
        let alone = ThreadTeam.alone
        for _ in 0..<repetitions {
            Activation.geluTanh.forward(x, into: y, on: alone)
            LayerNorm.forward(
                x, weight: weight, bias: bias, epsilon: 1e-5, into: y, mean: means.slice(own),
                inverseDeviation: deviations.slice(own), on: alone)
        }
    }

    /// Seconds of a copy of what no cache holds.
    private func copyFromMemory() -> Double {
        lockstep_evict(copied.base, copied.bytes)
        return time(1, after: 0) {
            team.split(copied.count / 2, grain: 1024, copied.vector) { all, part, _ in
                let source = all.base + part.lowerBound
                (source + all.count / 2).update(from: source, count: part.count)
            }
        }
    }

    /// Seconds in which every thread overwrites its share of what another one has read.
    private func handOver() -> Double {
        let shares = (handed.vector, sums.vector, team)
        func overwrite() {
            team.split(team.count, shares) { shares, _, member in
                let (all, _, team) = shares
                Reductions.fill(all.slice(team.share(of: all.count, grain: 16, for: member)), with: 1)
            }
        }
        overwrite()
        team.split(team.count, shares) { shares, _, member in
            let (all, sums, team) = shares
            let other = team.share(of: all.count, grain: 16, for: (member + 1) % team.count)
            sums.base[16 * member] = Float(Reductions.sumOfSquares(all.slice(other)))
        }
        return time(1, after: 0, overwrite)
    }

    /// Of the middle of the samples; at least one must have been taken.
    private var typical: ReferenceSpeed {
        let middle = Times(samples) { seconds in seconds.sorted()[seconds.count / 2] }
        var speed = ReferenceSpeed(rates(middle))
        speed.productSpread = spread(samples.map(\.product))
        speed.kernelSpread = spread(samples.map(\.kernel))
        speed.copySpread = spread(samples.map(\.copy))
        return speed
    }

    /// Of a sample.
    package func rates(_ times: Times) -> StepSample.Speed {
        let (rows, columns) = ReferenceSpeed.kernelShape
        // A copy reads and writes every byte.
        var speed = StepSample.Speed(
            flopsPerSecond: ReferenceSpeed.product.flops / times.product,
            kernelElementsPerSecond: 2 * Double(rows * columns) / times.kernel,
            copyBytesPerSecond: 2 * Double(ReferenceSpeed.copyBytes) / times.copy)
        speed.exchange = times.exchange.flatMap { exchange?.speed($0) }
        speed.handoverBytesPerSecond = times.handover.map {
            Double(ReferenceSpeed.handoverBytes / team.count) / $0
        }
        return speed
    }

    /// How fast every rank typically was, on every rank. Collective.
    package func speeds(on ranks: borrowing Communicator) throws -> [ReferenceSpeed] {
        try Self.gather(typical, on: ranks)
    }

    /// How fast every rank was at its last sample and at the one before it, `before`: the speed of what was done between the
    /// two. Collective.
    package func speeds(since before: Times, on ranks: borrowing Communicator) throws -> [ReferenceSpeed] {
        try Self.gather(ReferenceSpeed(rates(.mean(of: [before, last ?? before]))), on: ranks)
    }

    /// The speeds of all ranks. Collective.
    private static func gather(
        _ speed: ReferenceSpeed, on ranks: borrowing Communicator
    ) throws -> [ReferenceSpeed] {
        let own: [Double] = [
            speed.flopsPerSecond, speed.kernelElementsPerSecond, speed.copyBytesPerSecond,
            speed.exchange?.cached ?? 0, speed.exchange?.gradients ?? 0, speed.exchange?.shards ?? 0,
            speed.handoverBytesPerSecond ?? 0, speed.productSpread, speed.kernelSpread, speed.copySpread,
        ]
        var all = [Double](repeating: 0, count: own.count * ranks.size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try ranks.allgather(own, into: $0) }
        }
        return stride(from: 0, to: all.count, by: own.count).map { first in
            let exchange = ExchangeSpeed(
                cached: all[first + 3], gradients: all[first + 4], shards: all[first + 5])
            return ReferenceSpeed(
                flopsPerSecond: all[first], kernelElementsPerSecond: all[first + 1],
                copyBytesPerSecond: all[first + 2], exchange: exchange.cached > 0 ? exchange : nil,
                handoverBytesPerSecond: all[first + 6] > 0 ? all[first + 6] : nil,
                productSpread: all[first + 7], kernelSpread: all[first + 8], copySpread: all[first + 9])
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
    private func spread(_ seconds: [Double]) -> Double {
        let sorted = seconds.sorted()
        return (sorted[sorted.count * 9 / 10] - sorted[sorted.count / 10]) / 2 / sorted[sorted.count / 2]
    }
}
