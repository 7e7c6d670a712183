import CTiles
import Kernels

/// The most bytes a second that one core reads, and moves, in its own cache and from memory.
struct Bandwidth: Encodable {
    enum Place: String, CaseIterable, Encodable { case cache, memory }

    struct Rates: Encodable {
        /// The best of sums in one stream and in four; where the CPU has no AVX2 to sum with, as much as is moved.
        let read: Double
        /// Read and written: the best of summing, filling, scaling and copying.
        let moved: Double
    }

    let cache: Rates
    let memory: Rates

    /// Well within the second-level cache of any CPU with AVX-512.
    static let cacheBytes = 256 << 10
    static let memoryBytes = 192 << 20

    subscript(place: Place) -> Rates { place == .cache ? cache : memory }

    var text: String {
        func words(_ rates: Rates) -> String {
            "read \(Int((rates.read / 1e9).rounded())), read and written \(Int((rates.moved / 1e9).rounded()))"
        }
        return "Bandwidth, GB/s: in the core's cache \(words(cache)); memory \(words(memory))"
    }

    /// The middle of each figure.
    static func median(_ all: [Bandwidth]) -> Bandwidth {
        func rates(_ place: KeyPath<Bandwidth, Rates>) -> Rates {
            func middle(_ rate: KeyPath<Rates, Double>) -> Double {
                all.map { $0[keyPath: place][keyPath: rate] }.sorted()[all.count / 2]
            }
            return Rates(read: middle(\.read), moved: middle(\.moved))
        }
        return Bandwidth(cache: rates(\.cache), memory: rates(\.memory))
    }

    /// At this moment, in `buffer` of `memoryBytes`.
    static func measure(in buffer: borrowing AlignedBuffer<Float>) -> Bandwidth {
        Reductions.fill(buffer.vector, with: 1)
        return Bandwidth(cache: rates(buffer, bytes: cacheBytes), memory: rates(buffer, bytes: memoryBytes))
    }

    private static func rates(_ buffer: borrowing AlignedBuffer<Float>, bytes: Int) -> Rates {
        let all = buffer.vector.slice(0..<bytes / 4)
        let half = all.count / 2
        let repetitions = max(1, (64 << 20) / bytes)
        func rate(_ bytes: Int, _ run: () -> Void) -> Double {
            let start = ContinuousClock.now
            for _ in 0..<repetitions { run() }
            return Double(repetitions * bytes) / ((ContinuousClock.now - start) / .seconds(1))
        }
        let streams: [Int32] = lockstep_cpu_isa_level() >= 3 ? [1, 4] : []
        let read = streams.map { streams in
            rate(bytes) { precondition(lockstep_ceiling_read(all.base, all.count, streams) > 0) }
        }
        let moved =
            (read + [
                rate(bytes) { Reductions.fill(all, with: 1) },
                rate(2 * bytes) { Reductions.scale(all, by: 1) },
                rate(bytes) { (all.base + half).update(from: all.base, count: half) },
            ]).max()!
        return Rates(read: read.max() ?? moved, moved: moved)
    }
}
