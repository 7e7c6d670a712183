import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times reductions as training does them, over sizes from a small model's gradients to a large one's.
struct ReductionSweep {
    let pool: OperandPool
    static let bucketBytes = 4 << 20
    /// Seconds of a reduction from which on no larger one is tried: a slow network shows its rate sooner.
    private let longest = 0.8

    /// The fitted model. Collective over `ranks`.
    func measure(_ topology: Topology, on ranks: borrowing Communicator) throws -> ReductionModel {
        let sizes = [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
        let gradients = try AlignedBuffer<Float>(count: sizes.last! / 4)
        var samples: [ReductionModel.Sample] = []
        for bytes in sizes {
            let vector = gradients.vector.slice(0..<bytes / 4)
            var reduction = try BucketedCollective(
                .allreduce, vector, bucketBytes: Self.bucketBytes, over: topology)
            var times: [Double] = []
            for repetition in 0..<7 {
                // As after a backward pass, each rank has written its own, and much else since.
                Reductions.fill(vector, with: 1)
                pool.passThroughCaches()
                try ranks.barrier()
                let time = try seconds { try reduction.finish() }
                if repetition > 0 { times.append(time) }
            }
            let time = try mean(times.median, on: ranks)
            samples.append(.init(bytes: bytes, seconds: time))
            if time > longest { break }
        }
        return ReductionModel(
            algorithm: topology.reduction.rawValue, ranks: ranks.size, hosts: topology.hosts,
            samples: samples,
            bucketBytes: Self.bucketBytes)
    }
}
