import CTiles
import Configs
import Cost
import Kernels
import MessagePassing

/// Sums over the ranks of a host, always the same, as training makes them of gradients: how fast they exchange what was just
/// written or some milliseconds ago, as far as caches that others use, too, still hold it, and what comes from memory.
final class ReferenceExchange {
    /// Of each kind.
    struct Seconds {
        var cached: Double
        var gradients: Double
        var shards: Double
    }

    private let topology: Topology
    private let gradients: AlignedBuffer<Float>
    /// Those of them that are exchanged while caches hold them.
    private let few: Vector
    private var cached: BucketedCollective
    private var sumsAndCopies: BucketedCollective
    private var sums: BucketedCollective
    private var copies: BucketedCollective
    /// That a rank sends, of what caches hold and of what comes from memory.
    private let cachedBytes: Double
    private let memoryBytes: Double

    /// For the ranks of `topology`, which do nothing else meanwhile; nil where they are not several of one host.
    init?(over topology: Topology) throws {
        guard topology.hosts == 1, topology.ranks > 1 else { return nil }
        let bucketBytes = ParallelConfig().bucketBytes(ranks: topology.ranks)
        func sent(_ bytes: Int) -> Double {
            ReductionModel.ring(bytes: bytes, ranks: topology.ranks, bucketBytes: bucketBytes).bytes
        }
        func collective(
            _ operation: BucketedCollective.Operation, _ vector: Vector
        ) throws -> BucketedCollective {
            try BucketedCollective(operation, vector, bucketBytes: bucketBytes, over: topology)
        }
        (cachedBytes, memoryBytes) = (
            sent(ReferenceSpeed.cachedExchangeBytes), sent(ReferenceSpeed.memoryExchangeBytes)
        )
        self.topology = topology
        gradients = try AlignedBuffer(count: ReferenceSpeed.memoryExchangeBytes / 4)
        few = gradients.vector.slice(0..<ReferenceSpeed.cachedExchangeBytes / 4)
        cached = try collective(.allreduce, few)
        sumsAndCopies = try collective(.allreduce, gradients.vector)
        sums = try collective(.reduceScatter, gradients.vector)
        copies = try collective(.allgather, gradients.vector)
    }

    /// Writes the gradients that `measure` exchanges first, for other work to come in between.
    func prepare() { Reductions.fill(few, with: 1) }

    /// Seconds, without what ranks wait for each other before. Collective.
    func measure() throws -> Seconds {
        let before = try timeTogether { try cached.finish() }
        prepare()
        let now = try timeTogether { try cached.finish() }
        writeToMemory()
        let atOnce = try timeTogether { try sumsAndCopies.finish() }
        writeToMemory()
        let summing = try timeTogether { try sums.finish() }
        evict()
        let copying = try timeTogether { try copies.finish() }
        return Seconds(cached: (before + now) / 2, gradients: atOnce, shards: summing + copying)
    }

    /// What ranks exchange in a second when it takes them `seconds`.
    func speed(_ seconds: Seconds) -> ExchangeSpeed {
        ExchangeSpeed(
            cached: cachedBytes / seconds.cached, gradients: memoryBytes / seconds.gradients,
            shards: memoryBytes / seconds.shards)
    }

    private func writeToMemory() {
        Reductions.fill(gradients.vector, with: 1)
        evict()
    }

    private func evict() { lockstep_evict(gradients.base, gradients.bytes) }

    private func timeTogether(_ body: () throws -> Void) throws -> Double {
        try topology.all.barrier()
        let start = ContinuousClock.now
        try body()
        return (ContinuousClock.now - start) / .seconds(1)
    }
}
