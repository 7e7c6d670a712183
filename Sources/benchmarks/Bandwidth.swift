import Kernels

/// The most bytes a second that one core moves, read and written, in its own cache and from memory: the best of filling,
/// scaling and copying, each the fastest of some runs.
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
}
