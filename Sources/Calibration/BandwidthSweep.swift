import Cost
import Kernels
import MessagePassing

/// Copy bandwidth of the memory levels: the same bytes over and over, from a core's own cache to main memory.
struct BandwidthSweep {
    let pool: OperandPool
    /// Bytes of a core's own cache.
    let privateCache: Int

    func measure(on ranks: borrowing Communicator) throws -> [Profile.Bandwidth] {
        try [privateCache / 2, 2 << 20, 8 << 20, 24 << 20, 64 << 20, 128 << 20].map { bytes in
            let half = bytes / 8
            let (from, to) = (pool.all.slice(0..<half), pool.all.slice(half..<2 * half))
            let copies = max(1, (32 << 20) / bytes)
            try ranks.barrier()
            let times = (0..<5).map { _ in
                seconds { for _ in 0..<copies { to.base.update(from: from.base, count: half) } }
            }
            let time = try mean(times.median, on: ranks)
            return Profile.Bandwidth(bytes: bytes, bytesPerSecond: Double(bytes * copies) / time)
        }
    }
}
