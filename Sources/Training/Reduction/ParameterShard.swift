/// The parameters that a rank updates: those that every rank updates alike, and those that it alone does.
///
/// Without sharding the former are all. With ZeRO-1 (Rajbhandari et al. 2020) they are the remainder of the buckets, and
/// each rank owns a p-th of every bucket.
package struct ParameterShard {
    let shared: Range<Int>
    let owned: [Range<Int>]

    /// All of `count` parameters on every rank.
    package init(whole count: Int) {
        shared = 0..<count
        owned = []
    }

    /// This rank's share of `buckets`.
    init(of buckets: Buckets) {
        shared = buckets.remainder
        owned = (0..<buckets.count).map(buckets.ownPart)
    }

    /// All ranges that the rank updates.
    var ranges: [Range<Int>] { [shared] + owned }
}
