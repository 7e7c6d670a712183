/// Threefry-2x32 with 20 rounds, a counter-based random number generator (Salmon, Moraes, Dror and Shaw, "Parallel
/// random numbers: as easy as 1, 2, 3", SC 2011): 64 random bits as a pure function of a 64-bit key and a 64-bit
/// counter, so that any number can be had without those before it.
public struct Threefry: Sendable {
    let key0: UInt32
    let key1: UInt32

    public init(key: (UInt32, UInt32)) {
        key0 = key.0
        key1 = key.1
    }

    /// The generator of one stream of a seed; streams of different seeds or identifiers are unrelated.
    init(seed: UInt64, stream: (UInt32, UInt32)) {
        let root = Threefry(key: (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32)))
        self.init(key: root.block(counter: stream))
    }

    /// The two random words of one counter.
    public func block(counter: (UInt32, UInt32)) -> (UInt32, UInt32) {
        let words = blocks(SIMD16(repeating: counter.0), SIMD16(repeating: counter.1))
        return (words.0[0], words.1[0])
    }

    /// The two random words of each of 16 counters.
    @inline(always)
    func blocks(_ counter0: SIMD16<UInt32>, _ counter1: SIMD16<UInt32>) -> (SIMD16<UInt32>, SIMD16<UInt32>) {
        let key2 = 0x1bd1_1bda ^ key0 ^ key1
        var x0 = counter0 &+ key0
        var x1 = counter1 &+ key1
        fourRounds(&x0, &x1, 13, 15, 26, 6)
        x0 &+= key1
        x1 &+= key2 &+ 1
        fourRounds(&x0, &x1, 17, 29, 16, 24)
        x0 &+= key2
        x1 &+= key0 &+ 2
        fourRounds(&x0, &x1, 13, 15, 26, 6)
        x0 &+= key0
        x1 &+= key1 &+ 3
        fourRounds(&x0, &x1, 17, 29, 16, 24)
        x0 &+= key1
        x1 &+= key2 &+ 4
        fourRounds(&x0, &x1, 13, 15, 26, 6)
        x0 &+= key2
        x1 &+= key0 &+ 5
        return (x0, x1)
    }
}

@inline(always)
private func fourRounds(
    _ x0: inout SIMD16<UInt32>, _ x1: inout SIMD16<UInt32>, _ a: UInt32, _ b: UInt32, _ c: UInt32, _ d: UInt32
) {
    mix(&x0, &x1, a)
    mix(&x0, &x1, b)
    mix(&x0, &x1, c)
    mix(&x0, &x1, d)
}

@inline(always)
private func mix(_ x0: inout SIMD16<UInt32>, _ x1: inout SIMD16<UInt32>, _ rotation: UInt32) {
    x0 &+= x1
    x1 = ((x1 &<< rotation) | (x1 &>> (32 &- rotation))) ^ x0
}

/// 0, 1, …, 15
@inline(always)
var laneIndices: SIMD16<UInt32> { SIMD16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) }
