import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times reductions as training does them, over sizes from a small model's gradients to a large one's, in rounds between
/// which other things are measured, since their speed changes within minutes.
struct ReductionSweep {
    private static let sizes = [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
    /// Seconds of a reduction from which on no larger one is tried: a slow network shows its rate sooner.
    private static let longest = 0.2

    private let pool: OperandPool
    /// By size, of all rounds.
    private let times: RelativeTimes

    /// - Parameter meter: takes samples between the sizes.
    init(pool: OperandPool, meter: ReferenceMeter) {
        self.pool = pool
        times = RelativeTimes(count: Self.sizes.count, meter: meter)
    }

    /// Measures a round. Collective over `ranks`.
    func measure(_ topology: Topology, on ranks: borrowing Communicator) throws {
        guard ranks.size > 1 else { return }
        let bucketBytes = ParallelConfig().bucketBytes(ranks: ranks.size)
        let gradients = try AlignedBuffer<Float>(count: Self.sizes.last! / 4)
        try times.restartTogether()
        for (index, bytes) in Self.sizes.enumerated() {
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
                if repetition > 0 { times.add(.init(repeating: time), of: index) }
                longestTime = max(longestTime, time)
            }
            try times.closeTogether()
            if longestTime > Self.longest { break }
        }
    }

    /// The model fitted to all rounds, at least one, of two ranks or more: within a host when they are as fast as
    /// `reference` says. Collective.
    func model(
        _ topology: Topology, at reference: ReferenceSpeed, on ranks: borrowing Communicator
    ) throws -> ReductionModel {
        var samples: [ReductionModel.Sample] = []
        for (index, bytes) in Self.sizes.enumerated() {
            let seconds =
                topology.hosts == 1
                ? try times.reduction(index, bytes: bytes, at: reference, on: ranks) : times.median(of: index)
            if let seconds { samples.append(.init(bytes: bytes, seconds: seconds)) }
        }
        return ReductionModel(
            algorithm: topology.reduction.rawValue, ranks: ranks.size, hosts: topology.hosts,
            samples: samples, bucketBytes: ParallelConfig().bucketBytes(ranks: ranks.size))
    }
}
