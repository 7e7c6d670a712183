import Configs
import Cost
import Kernels
import MessagePassing

/// A sum over the ranks of a host, always the same, as training makes it of gradients: how fast they exchange what caches
/// hold at the time.
final class ReferenceExchange {
    private let topology: Topology
    private let gradients: AlignedBuffer<Float>
    private var reduction: BucketedCollective
    /// That a rank sends.
    let sentBytes: Double

    private static let repetitions = 3

    /// For the ranks of `topology`, which do nothing else meanwhile; nil where they are not several of one host.
    init?(over topology: Topology) throws {
        guard topology.hosts == 1, topology.ranks > 1 else { return nil }
        let bucketBytes = ParallelConfig().bucketBytes(ranks: topology.ranks)
        sentBytes =
            ReductionModel.ring(
                bytes: ReferenceSpeed.exchangeBytes, ranks: topology.ranks, bucketBytes: bucketBytes
            ).bytes
        self.topology = topology
        gradients = try AlignedBuffer(count: ReferenceSpeed.exchangeBytes / 4)
        reduction = try BucketedCollective(
            .allreduce, gradients.vector, bucketBytes: bucketBytes, over: topology)
    }

    /// Seconds of a sum, without what ranks wait for each other before it. Collective.
    func seconds() throws -> Double {
        var times: [Double] = []
        for _ in 0..<Self.repetitions {
            Reductions.fill(gradients.vector, with: 1)
            try topology.all.barrier()
            let start = ContinuousClock.now
            try reduction.finish()
            times.append((ContinuousClock.now - start) / .seconds(1))
        }
        return times.sorted()[Self.repetitions / 2]
    }
}
