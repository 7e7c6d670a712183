/// The order in which training visits its samples: a fresh permutation every epoch, keyed by seed and epoch alone.
///
/// Nothing is stored and nothing depends on the number of ranks: any rank, and any resumed run, computes which sample
/// is at a global position. The permutation is a balanced Feistel network over the smallest domain 4ʷ that holds
/// `count`, walked along its cycle until it falls below `count` (Black and Rogaway, "Ciphers with Arbitrary Finite
/// Domains", 2002).
public struct SampleOrder: Sendable {
    public let seed: UInt64
    /// Samples in an epoch.
    public let count: Int
    private let halfBits: UInt64

    /// A smaller domain has too few Feistel permutations to choose from.
    private static let minHalfBits = 3
    private static let rounds: UInt64 = 8

    public init(seed: UInt64, count: Int) {
        precondition(count > 0, "an epoch needs at least one sample")
        self.seed = seed
        self.count = count
        let bits = Int.bitWidth - (count - 1).leadingZeroBitCount
        halfBits = UInt64(max(Self.minHalfBits, (bits + 1) / 2))
    }

    /// Index of the sample at a global position, in `0 ..< count`. Positions count on over the epochs: epoch e begins at
    /// position e·count.
    public func sample(at position: Int) -> Int {
        precondition(position >= 0, "global positions begin at 0")
        let (epoch, index) = position.quotientAndRemainder(dividingBy: count)
        let key = Self.mixed(Self.mixed(seed) &+ UInt64(epoch))
        var value = UInt64(index)
        repeat { value = permuted(value, key: key) } while value >= UInt64(count)
        return Int(value)
    }

    /// One pass through the network: a bijection of `0 ..< 4^halfBits`.
    private func permuted(_ value: UInt64, key: UInt64) -> UInt64 {
        let mask: UInt64 = (1 << halfBits) - 1
        var left = value >> halfBits
        var right = value & mask
        for round in 0..<Self.rounds {
            let scrambled = Self.mixed(key ^ (round << 56) ^ right) & mask
            (left, right) = (right, left ^ scrambled)
        }
        return left << halfBits | right
    }

    private static func mixed(_ value: UInt64) -> UInt64 { SplitMix64.mixed(value &+ 0x9E37_79B9_7F4A_7C15) }
}
