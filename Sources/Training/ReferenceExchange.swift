import CTiles
import Configs
import Cost
import Kernels
import MessagePassing

/// Sums over the ranks of a host, always the same, as training makes them of gradients: how fast they exchange what was just
/// written or some milliseconds ago, as far as caches that others use, too, still hold it, and what comes from memory.
final class ReferenceExchange {
    /// Seconds, or bytes, of both.
    struct Figures {
        var cached: Double
        var cold: Double
    }

    private let topology: Topology
    private let gradients: AlignedBuffer<Float>
    /// Those of them that are exchanged while caches hold them.
    private let few: Vector
    private var cached: BucketedCollective
    private var coldSums: BucketedCollective
    private var coldCopies: BucketedCollective
    /// That a rank sends.
    let sentBytes: Figures

    /// For the ranks of `topology`, which do nothing else meanwhile; nil where they are not several of one host.
    init?(over topology: Topology) throws {
        guard topology.hosts == 1, topology.ranks > 1 else { return nil }
        let bucketBytes = ParallelConfig().bucketBytes(ranks: topology.ranks)
        func sent(_ bytes: Int) -> Double {
            ReductionModel.ring(bytes: bytes, ranks: topology.ranks, bucketBytes: bucketBytes).bytes
        }
        sentBytes = Figures(
            cached: sent(ReferenceSpeed.exchangeBytes), cold: sent(ReferenceSpeed.coldExchangeBytes))
        self.topology = topology
        gradients = try AlignedBuffer(count: ReferenceSpeed.coldExchangeBytes / 4)
        few = gradients.vector.slice(0..<ReferenceSpeed.exchangeBytes / 4)
        cached = try BucketedCollective(.allreduce, few, bucketBytes: bucketBytes, over: topology)
        coldSums = try BucketedCollective(
            .reduceScatter, gradients.vector, bucketBytes: bucketBytes, over: topology)
        coldCopies = try BucketedCollective(
            .allgather, gradients.vector, bucketBytes: bucketBytes, over: topology)
    }

    /// Writes the gradients that `measure` exchanges first, for other work to come in between.
    func prepare() { Reductions.fill(few, with: 1) }

    /// Seconds, without what ranks wait for each other before. Collective.
    func measure() throws -> Figures {
        let before = try timeTogether { try cached.finish() }
        prepare()
        let now = try timeTogether { try cached.finish() }
        Reductions.fill(gradients.vector, with: 1)
        evict()
        let sums = try timeTogether { try coldSums.finish() }
        evict()
        let copies = try timeTogether { try coldCopies.finish() }
        return Figures(cached: (before + now) / 2, cold: sums + copies)
    }

    private func evict() { lockstep_evict(gradients.base, gradients.bytes) }

    private func timeTogether(_ body: () throws -> Void) throws -> Double {
        try topology.all.barrier()
        let start = ContinuousClock.now
        try body()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
