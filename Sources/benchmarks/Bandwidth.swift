import Kernels

/// The most bytes a second that one core moves, read and written, in its own cache and from memory: the best of summing,
/// filling, scaling and copying, each the fastest of some runs.
struct Bandwidth: Encodable {
    enum Place: String, CaseIterable, Encodable { case cache, memory }

    let cache: Double
    let memory: Double

    /// Well within the second-level cache of any CPU with AVX-512.
    static let cacheBytes = 256 << 10
    private static let memoryBytes = 192 << 20

    subscript(place: Place) -> Double { place == .cache ? cache : memory }

    var text: String {
        "Bandwidth, GB/s: in the core's cache \(Int((cache / 1e9).rounded())), memory \(Int((memory / 1e9).rounded()))"
    }

    static func measure() throws -> Bandwidth {
        let buffer = try AlignedBuffer<Float>(count: memoryBytes / 4)
        Reductions.fill(buffer.vector, with: 1)
        return Bandwidth(cache: best(buffer, bytes: cacheBytes), memory: best(buffer, bytes: memoryBytes))
    }

    private static func best(_ buffer: borrowing AlignedBuffer<Float>, bytes: Int) -> Double {
        let all = buffer.vector.slice(0..<bytes / 4)
        let half = all.count / 2
        let ways: [(bytes: Int, run: () -> Void)] = [
            (bytes, { precondition(sum(all) > 0) }),
            (bytes, { Reductions.fill(all, with: 1) }),
            (2 * bytes, { Reductions.scale(all, by: 1) }),
            (bytes, { (all.base + half).update(from: all.base, count: half) }),
        ]
        let repetitions = max(1, (64 << 20) / bytes)
        return ways.map { way in
            (0..<7).map { _ in
                let start = ContinuousClock.now
                for _ in 0..<repetitions { way.run() }
                return Double(repetitions * way.bytes) / ((ContinuousClock.now - start) / .seconds(1))
            }.max()!
        }.max()!
    }

    /// In as many sums at once as no load waits for the one before it.
    private static func sum(_ x: Vector) -> Float {
        var sums = (SIMD16<Float>.zero, SIMD16<Float>.zero, SIMD16<Float>.zero, SIMD16<Float>.zero)
        let source = UnsafeRawPointer(x.base)
        for offset in stride(from: 0, to: x.count / 64 * 256, by: 256) {
            sums.0 += source.loadUnaligned(fromByteOffset: offset, as: SIMD16<Float>.self)
            sums.1 += source.loadUnaligned(fromByteOffset: offset + 64, as: SIMD16<Float>.self)
            sums.2 += source.loadUnaligned(fromByteOffset: offset + 128, as: SIMD16<Float>.self)
            sums.3 += source.loadUnaligned(fromByteOffset: offset + 192, as: SIMD16<Float>.self)
        }
        return (sums.0 + sums.1 + sums.2 + sums.3).sum()
    }
}
