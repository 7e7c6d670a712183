import Cost
import Kernels
import MessagePassing

/// A short product and a copy, always the same: how fast the machine is now, to set beside how fast it was when it was
/// calibrated.
package struct ReferenceMeter {
    private let matmul: MatMul
    /// Just beyond a core's own cache.
    private static let copyBytes = 2 << 20

    package init(backend: any MatMulBackend, team: ThreadTeam) {
        matmul = MatMul(backend: backend, team: team)
    }

    /// Measures on all ranks at once, for about `seconds` in all. The speed of the slowest rank, which all others wait
    /// for. Collective.
    package func measure(seconds budget: Double, on ranks: borrowing Communicator) throws -> ReferenceSpeed {
        let size = ReferenceSpeed.product.m
        let operands = try AlignedBuffer<Float>(count: 3 * size * size)
        let squares = (0..<3).map { index in
            operands.vector.slice(index * size * size..<(index + 1) * size * size).matrix(
                rows: size, columns: size)
        }
        let half = Self.copyBytes / 2 / 4
        let copied = try AlignedBuffer<Float>(count: 2 * half)
        try ranks.barrier()
        let products = times(for: budget / 2) {
            matmul.forward(squares[0], weight: squares[1], into: squares[2])
        }
        try ranks.barrier()
        let copies = times(for: budget / 2) {
            (copied.base + half).update(from: copied.base, count: half)
        }
        let flops = 2 * Double(size * size * size)
        // A copy reads and writes every byte.
        let bytes = Double(Self.copyBytes)
        var figures = [
            -flops / mean(products), -bytes / mean(copies), spread(products), spread(copies),
        ]
        try figures.withUnsafeMutableBufferPointer { try ranks.allreduce(inPlace: $0, .max) }
        return ReferenceSpeed(
            flopsPerSecond: -figures[0], copyBytesPerSecond: -figures[1], productSpread: figures[2],
            copySpread: figures[3])
    }

    /// Seconds of each of as many calls as fit into `budget` seconds, sorted; at least five.
    private func times(for budget: Double, _ body: () -> Void) -> [Double] {
        body()
        var times: [Double] = []
        let start = ContinuousClock.now
        while times.count < 5 || (ContinuousClock.now - start) / .seconds(1) < budget {
            let before = ContinuousClock.now
            body()
            times.append((ContinuousClock.now - before) / .seconds(1))
        }
        return times.sorted()
    }

    /// Without the slowest twentieth, which something else took.
    private func mean(_ sorted: [Double]) -> Double {
        let kept = sorted.prefix(max(1, sorted.count * 19 / 20))
        return kept.reduce(0, +) / Double(kept.count)
    }

    /// Half the distance between the 10th and the 90th percentile, over the median.
    private func spread(_ sorted: [Double]) -> Double {
        (sorted[sorted.count * 9 / 10] - sorted[sorted.count / 10]) / 2 / sorted[sorted.count / 2]
    }
}
