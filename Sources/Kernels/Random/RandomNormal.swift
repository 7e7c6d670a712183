/// Normally distributed numbers.
public enum RandomNormal {
    /// Fills x with draws from the normal distribution of mean 0 and the given standard deviation; element i is a
    /// pure function of (seed, stream, i). Box and Muller's method over `Threefry`; no draw lies further than 5.7
    /// standard deviations from 0.
    public static func fill(_ x: Vector, standardDeviation: Float, seed: UInt64, stream: Int) {
        let generator = generator(seed: seed, stream: stream)
        let values = x.base
        var offset = 0
        while offset < x.count {
            let (first, second) = pair(generator, group: UInt64(offset / 32))
            store(first * standardDeviation, values + offset, min(16, x.count &- offset))
            if offset &+ 16 < x.count {
                store(second * standardDeviation, values + (offset &+ 16), min(16, x.count &- offset &- 16))
            }
            offset &+= 32
        }
    }

    static func generator(seed: UInt64, stream: Int) -> Threefry {
        guard let stream = UInt32(exactly: stream) else {
            preconditionFailure("stream \(stream) is no 32-bit number")
        }
        return Threefry(seed: seed, stream: (stream, streamKind))
    }

    /// Keeps these streams apart from those of dropout.
    private static let streamKind: UInt32 = 0x6e6f_726d

    /// Standard normal elements 32·group ..< 32·group + 32.
    @inline(always)
    private static func pair(_ generator: Threefry, group: UInt64) -> (Lanes, Lanes) {
        let counter = UInt32(truncatingIfNeeded: group << 4) | laneIndices
        let (word0, word1) = generator.blocks(
            counter, SIMD16(repeating: UInt32(truncatingIfNeeded: group >> 28)))
        // 23 bits as the mantissa of a number in [1, 2).
        let uniform0 = unsafeBitCast((word0 &>> 9) | 0x3f80_0000, to: Lanes.self)
        let radius = ((2 - uniform0).logarithm * -2).squareRoot()
        // Two bits of the second word choose the quadrant, 23 the angle in it.
        let uniform1 = unsafeBitCast((word1 & 0x007f_ffff) | 0x3f80_0000, to: Lanes.self)
        let (cosine, sine) = ((uniform1 - 1.5) * (Float.pi / 2)).cosineAndSine
        let swapped: SIMDMask<SIMD16<Int32>> = (word1 & 0x4000_0000) .== SIMD16<UInt32>.zero
        let sign = word1 & 0x8000_0000
        return (
            radius * cosine.replacing(with: sine, where: swapped).withSignFlipped(sign),
            radius * sine.replacing(with: cosine, where: swapped).withSignFlipped(sign)
        )
    }
}

extension SIMD16 where Scalar == Float {
    /// Negated in the lanes where the highest bit of `sign` is set.
    @inline(always)
    fileprivate func withSignFlipped(_ sign: SIMD16<UInt32>) -> Lanes {
        unsafeBitCast(unsafeBitCast(self, to: SIMD16<UInt32>.self) ^ sign, to: Lanes.self)
    }
}
