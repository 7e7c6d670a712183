import Configs
import Kernels
import MessagePassing

/// A short reduction, always the same, over the ranks of a host: how fast they can read each other's memory at the time.
/// That drifts on its own, by a quarter within minutes where a machine is shared, while products and copies in a core's
/// caches stay as they are.
struct ReferenceExchange: ~Copyable {
    private let gradients: AlignedBuffer<Float>
    private let topology: Topology
    private var reduction: BucketedCollective

    /// Beyond a core's own caches, as gradients are.
    private static let bytes = 4 << 20
    private static let repetitions = 2

    /// The exchange of all `ranks`; nil when there is one, or when they are on several hosts, whose network would be busy
    /// with it for long. Collective.
    static func between(_ ranks: borrowing Communicator) throws -> ReferenceExchange? {
        let topology = try Topology(.ring, world: ranks)
        guard ranks.size > 1, topology.hosts == 1 else { return nil }
        return try ReferenceExchange(topology)
    }

    /// Allocates all that it will ever need.
    private init(_ topology: Topology) throws {
        let gradients = try AlignedBuffer<Float>(count: Self.bytes / 4, inHugePages: true)
        reduction = try BucketedCollective(
            .allreduce, gradients.vector, bucketBytes: ParallelConfig().bucketBytes(ranks: topology.ranks),
            over: topology)
        self.gradients = gradients
        self.topology = topology
    }

    /// Bytes that are summed in a second. Collective.
    mutating func bytesPerSecond() throws -> Double {
        var seconds = 0.0
        // The first one finds its scratch cold.
        for repetition in 0...Self.repetitions {
            Reductions.fill(gradients.vector, with: 1)
            try topology.all.barrier()
            let start = ContinuousClock.now
            try reduction.finish()
            if repetition > 0 { seconds += (ContinuousClock.now - start) / .seconds(1) }
        }
        return Double(Self.repetitions * Self.bytes) / seconds
    }
}
