/// Which pairs of tokens are one token, and which pair goes first.
struct MergeTable: Sendable {
    /// A merge's rank in the upper and the token that it makes in the lower 32 bits, so that of several the smallest is the
    /// one to do.
    typealias Merge = UInt64
    static let none = Merge.max

    /// Pairs by linear probing, each followed by its merge: one look at the memory for both.
    private var entries: [UInt64]
    private let shift: UInt64
    private static let vacant = UInt64.max

    /// - Parameter capacity: merges that will be put in.
    init(capacity: Int) {
        var bits: UInt64 = 4
        while 1 << bits < 2 * capacity { bits += 1 }
        entries = [UInt64](repeating: Self.vacant, count: 2 << bits)
        shift = 64 - bits
    }

    subscript(left: UInt32, right: UInt32) -> Merge {
        get { entries[index(of: Self.pair(left, right)) + 1] }
        set {
            let pair = Self.pair(left, right)
            let index = index(of: pair)
            entries[index] = pair
            entries[index + 1] = newValue
        }
    }

    static func merge(rank: Int, token: UInt32) -> Merge { UInt64(rank) << 32 | UInt64(token) }
    static func token(of merge: Merge) -> UInt32 { UInt32(truncatingIfNeeded: merge) }

    private static func pair(_ left: UInt32, _ right: UInt32) -> UInt64 { UInt64(left) << 32 | UInt64(right) }

    /// Where the pair is, or where it would be; what is vacant reads as `none`.
    private func index(of pair: UInt64) -> Int {
        var index = Int((pair &* 0x9E37_79B9_7F4A_7C15) >> shift) * 2
        while entries[index] != pair && entries[index] != Self.vacant {
            index = (index + 2) & (entries.count - 1)
        }
        return index
    }
}
