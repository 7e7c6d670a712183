import Configs

/// What the reductions of a step take, in closed form.
///
/// The first N mod p gradients travel with the loss; the others in buckets of C elements, a multiple of p, each of which
/// is reduce-scattered and allgathered by rings. In a ring over q ranks each sends q − 1 of q parts (Patarasuk and Yuan
/// 2009). So one ring over all p ranks sends p − 1 times C/p each way; and so do rings over the l ranks of each of h
/// hosts and across the hosts: (l − 1)C/l + (h − 1)C/(lh) = (p − 1)C/p.
struct GradientExchange {
    /// Buckets that are under way at one time.
    private static let window = 4

    let ranks: Int
    private let isSharded: Bool
    /// Sums follow one binary tree: each bucket by recursive halving and doubling, of which the first step receives half
    /// of it, and in all of which a rank sends as much as in a ring; the totals whole, log₂ p times.
    private let isTree: Bool
    /// N
    private let parameters: Int
    /// ⌊N/p⌋, N mod p
    private let share: Int
    private let remainder: Int
    private let buckets: Int
    /// Elements of a bucket, as far as one rank receives them at a time.
    private let received: Int
    /// Buckets of which parts are received at one time.
    private let receivedBuckets: Int

    /// - Throws: `LockstepError` (`badConfiguration`) if a hierarchy is asked for and `ranks` do not fill `hosts` equally.
    init(_ parallel: ParallelConfig, parameters: Int, ranks: Int, hosts: Int) throws {
        let fillsHosts = ranks % hosts == 0
        if parallel.reduction == .hierarchical && !fillsHosts {
            throw LockstepError(
                .badConfiguration,
                "parallel.reduction hierarchical needs the same number of ranks on every host: \(ranks) ranks cannot be "
                    + "spread evenly over \(hosts) hosts; use a multiple of \(hosts) ranks or parallel.reduction=ring"
            )
        }
        let hasLevels = fillsHosts && hosts > 1 && ranks > hosts
        let isHierarchical = parallel.reduction == .hierarchical || (parallel.reduction == .auto && hasLevels)
        self.ranks = ranks
        isSharded = parallel.optimizerSharding && ranks > 1
        self.parameters = parameters
        share = parameters / ranks
        remainder = parameters % ranks
        let perRank = max(1, min(parallel.bucketBytes(ranks: ranks) / 4 / ranks, share))
        buckets = (share + perRank - 1) / perRank
        isTree = parallel.reproducible
        received = isTree ? perRank * ranks / 2 : isHierarchical ? perRank * hosts : perRank
        receivedBuckets = isTree ? 1 : min(Self.window, buckets)
    }

    /// Parameters that a rank updates: all, or with a sharded optimizer its p-th and the remainder.
    var updated: Int { isSharded ? share + remainder : share * ranks + remainder }

    /// Doubles that all ranks sum in one piece: loss, target tokens and the remainder, and the squared gradient norm of a
    /// sharded optimizer.
    private var totals: Count { 2 + Count(remainder) + Count(isSharded ? 1 : 0) }

    /// Bytes of the totals, of the parts that are received before they are added, and of the rest of the last huge page of
    /// parameters and gradients.
    var communicationBytes: Count {
        let parts = ranks == 1 ? 0 : Count(receivedBuckets) * Count(received)
        let copies: Count = isTree && ranks > 1 ? 2 : 1
        return 8 * copies * totals + 4 * parts + padding
    }

    /// Bytes that parameters and gradients take beyond their size: each begins at a line of the caches, and behind both the
    /// last of the huge pages is filled up.
    private var padding: Count {
        guard ranks > 1 else { return 0 }
        // In fp32 elements.
        let (line, page) = (16, 1 << 19)
        let behindEach = (line - parameters % line) % line
        let behindBoth = (page - 2 * (parameters % page + behindEach) % page) % page
        return 4 * (2 * Count(behindEach) + Count(behindBoth))
    }

    /// Bytes that each rank sends in a step, the totals of a ring counted once.
    var sentBytes: Count {
        let rounds = isTree ? Count(ranks.trailingZeroBitCount) : 1
        return ranks == 1 ? 0 : 2 * Count(ranks - 1) * Count(share) * 4 + 8 * rounds * totals
    }
}
