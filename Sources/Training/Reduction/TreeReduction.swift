import Kernels
import MessagePassing
import Transformer

/// Sums an arena over 2ᵏ ranks so that every element's sum is one binary tree over the ranks: 0 with 1, 2 with 3, then
/// pairs of pairs, and so on. Together with `PartialSums`, which goes on with the same tree within a rank, that makes
/// the bits of a sum independent of the number of ranks (fp32 addition commutes, but is not associative).
///
/// By recursive halving and doubling (Thakur et al. 2005), with the nearest partner first. Bucket by bucket, so that
/// what is received takes half a bucket; nothing overlaps with backward, which ends with the last addition.
final class TreeReduction {
    private let arena: Vector
    private let buckets: Buckets
    private let topology: Topology
    /// Half of a bucket.
    private let received: AlignedBuffer<Float>

    /// Bytes of scratch.
    var scratchBytes: Int { received.bytes }

    /// The first N mod p elements of `arena` take no part. Throws `AllocationError`.
    init(_ arena: Vector, _ buckets: Buckets, over topology: Topology) throws {
        self.arena = arena
        self.buckets = buckets
        self.topology = topology
        received = try AlignedBuffer(count: topology.all.size > 1 ? buckets.bucketElements / 2 : 0)
    }

    /// Every element becomes its sum over all ranks. Collective.
    func run() throws {
        guard topology.all.size > 1 else { return }
        for index in 0..<buckets.count { try sum(buckets.bounds(index)) }
    }

    private func sum(_ bucket: Range<Int>) throws {
        let (rank, ranks) = (topology.all.rank, topology.all.size)
        var own = bucket
        var distance = 1
        while distance < ranks {
            let middle = own.lowerBound + own.count / 2
            let (lower, upper) = (own.lowerBound..<middle, middle..<own.upperBound)
            let (kept, given) = rank & distance == 0 ? (lower, upper) : (upper, lower)
            let other = received.vector.slice(0..<kept.count)
            try topology.all.exchange(arena.slice(given), for: other, with: rank ^ distance)
            arena.slice(given).evictCopies()
            let sums = arena.slice(kept).matrix(rows: 1, columns: kept.count)
            Residual.add(sums, other.matrix(rows: 1, columns: kept.count), into: sums)
            own = kept
            distance *= 2
        }
        while distance > 1 {
            distance /= 2
            let others =
                rank & distance == 0
                ? own.upperBound..<own.upperBound + own.count : own.lowerBound - own.count..<own.lowerBound
            try topology.all.exchange(arena.slice(own), for: arena.slice(others), with: rank ^ distance)
            own = min(own.lowerBound, others.lowerBound)..<max(own.upperBound, others.upperBound)
        }
    }
}

extension Communicator {
    /// Sends `own` to `partner`, which sends as many into `other`.
    func exchange<Element: MessageElement>(
        _ own: VectorView<Element>, for other: VectorView<Element>, with partner: Int
    ) throws {
        let receiving = try startReceive(
            into: UnsafeMutableBufferPointer(start: other.base, count: other.count), from: partner)
        let sending: Request
        do {
            sending = try startSend(UnsafeBufferPointer(start: own.base, count: own.count), to: partner)
        } catch {
            receiving.abandon()
            throw error
        }
        do {
            try receiving.wait()
        } catch {
            sending.abandon()
            throw error
        }
        try sending.wait()
    }
}

/// Sums of a rank's micro-batches that wait for others, in the binary tree that halves the micro-batches of a global
/// batch again and again: at most ⌈log₂ n⌉ at a time, of n micro-batches of the rank.
final class PartialSums {
    private let gradients: Vector
    private let team: ThreadTeam
    /// `[⌈log₂ n⌉, N]`
    private let sums: AlignedBuffer<Float>

    var bytes: Int { sums.bytes }

    /// Throws `AllocationError`.
    init(of gradients: Vector, leaves: Int, team: ThreadTeam) throws {
        self.gradients = gradients
        self.team = team
        let depth = Int.bitWidth - (leaves - 1).leadingZeroBitCount
        sums = try AlignedBuffer(count: depth * gradients.count)
    }

    /// Keeps the gradients as the sum of a first half at `depth`.
    func keep(at depth: Int) {
        team.split(gradients.count, grain: Self.grain, (gradients, sum(at: depth))) { vectors, range, _ in
            let (gradients, sum) = (vectors.0.slice(range), vectors.1.slice(range))
            sum.base.update(from: gradients.base, count: range.count)
        }
    }

    /// Adds the kept first half at `depth` to the gradients, which are the sum of the second.
    func merge(at depth: Int) {
        team.split(gradients.count, grain: Self.grain, (gradients, sum(at: depth))) { vectors, range, _ in
            let gradients = vectors.0.slice(range).matrix(rows: 1, columns: range.count)
            let sum = vectors.1.slice(range).matrix(rows: 1, columns: range.count)
            Residual.add(sum, gradients, into: gradients)
        }
    }

    /// Elements that a thread takes at least.
    private static let grain = 4096

    private func sum(at depth: Int) -> Vector {
        sums.vector.slice(depth * gradients.count..<(depth + 1) * gradients.count)
    }
}
