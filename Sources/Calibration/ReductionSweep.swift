import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times reductions as training does them, over sizes from a small model's gradients to a large one's, in rounds between
/// which other things are measured: their speed changes within minutes, while that of products stays.
struct ReductionSweep {
    let pool: OperandPool
    /// By size, of all rounds.
    private var times: [Int: [Double]] = [:]
    /// Seconds of a reduction from which on no larger one is tried: a slow network shows its rate sooner.
    private let longest = 0.2

    init(pool: OperandPool) { self.pool = pool }

    /// Measures a round. Collective over `ranks`.
    mutating func measure(_ topology: Topology, on ranks: borrowing Communicator) throws {
        guard ranks.size > 1 else { return }
        let sizes = [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
        let bucketBytes = ParallelConfig().bucketBytes(ranks: ranks.size)
        let gradients = try AlignedBuffer<Float>(count: sizes.last! / 4)
        for bytes in sizes {
            let vector = gradients.vector.slice(0..<bytes / 4)
            var reduction = try BucketedCollective(
                .allreduce, vector, bucketBytes: bucketBytes, over: topology)
            var longestTime = 0.0
            for repetition in 0..<5 {
                // As after a backward pass, each rank has written its own, and much else since.
                Reductions.fill(vector, with: 1)
                pool.passThroughCaches()
                try ranks.barrier()
                let time = try mean(seconds { try reduction.finish() }, on: ranks)
                if repetition > 0 { times[bytes, default: []].append(time) }
                longestTime = max(longestTime, time)
            }
            if longestTime > longest { break }
        }
    }

    /// The model fitted to all rounds, at least one, of two ranks or more.
    func model(_ topology: Topology, ranks: Int) -> ReductionModel {
        let samples = times.map { ReductionModel.Sample(bytes: $0.key, seconds: $0.value.median) }
        return ReductionModel(
            algorithm: topology.reduction.rawValue, ranks: ranks, hosts: topology.hosts, samples: samples,
            bucketBytes: ParallelConfig().bucketBytes(ranks: ranks))
    }
}
