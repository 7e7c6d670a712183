import MessagePassing

/// How an arena of N fp32 elements is cut for reductions over p ranks, the same way on every rank.
///
/// The first N mod p elements are the remainder, which every rank has whole. The others form buckets, counted from the
/// end of the arena, where backward begins; the last bucket may be smaller. Every bucket is a multiple of p, so that all
/// ranks send equally many bytes and own equally many elements: of each bucket one p-th.
struct Buckets {
    let remainder: Range<Int>
    /// Number of buckets.
    let count: Int
    /// Elements of a bucket.
    let bucketElements: Int
    private let elements: Int
    private let localRank: Int
    private let localSize: Int
    private let acrossRank: Int
    private let acrossSize: Int

    /// - Parameter bytes: size of a bucket, which is rounded down to a multiple of p elements.
    init(elements: Int, bytes: Int, over topology: Topology) {
        let ranks = topology.all.size
        self.elements = elements
        remainder = 0..<elements % ranks
        let divisible = elements - remainder.count
        let wanted = bytes / MemoryLayout<Float>.stride
        bucketElements = max(ranks, min(wanted - wanted % ranks, divisible))
        count = (divisible + bucketElements - 1) / bucketElements
        (localRank, localSize) = (topology.local.rank, topology.local.size)
        (acrossRank, acrossSize) = (topology.across.rank, topology.across.size)
    }

    /// Elements of bucket `index`.
    func bounds(_ index: Int) -> Range<Int> {
        let end = elements - index * bucketElements
        return max(remainder.upperBound, end - bucketElements)..<end
    }

    /// The part of bucket `index` that this rank and those of its number on the other hosts own.
    func localPart(_ index: Int) -> Range<Int> { part(bounds(index), localRank, of: localSize) }

    /// The part of bucket `index` that this rank owns.
    func ownPart(_ index: Int) -> Range<Int> { part(localPart(index), acrossRank, of: acrossSize) }

    private func part(_ range: Range<Int>, _ index: Int, of parts: Int) -> Range<Int> {
        let count = range.count / parts
        let start = range.lowerBound + index * count
        return start..<start + count
    }
}
