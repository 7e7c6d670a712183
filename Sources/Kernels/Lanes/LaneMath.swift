extension SIMD16 where Scalar == Float {
    /// e^self, within 2 units in the last place; 0 below -86.99 (2^-125.5), ∞ above 88.73, NaN stays.
    @inline(always)
    var exponential: Lanes {
        let largest = Lanes(repeating: 89)
        // Half of it and a doubling, because 2^128 is no fp32 number but e^88.7 is.
        let half = replacing(with: largest, where: self .> largest).exponential(exponentOfOne: 126)
        return half + half
    }

    /// The same of numbers that are not above 88, without what only larger ones need; 0 below -87.68 (2^-126.5).
    @inline(always)
    var exponentialUpTo88: Lanes { exponential(exponentOfOne: 127) }

    /// e^self · 2^(exponentOfOne - 127), as `exponential` has it.
    ///
    /// Reduction by powers of two (Cephes `expf`, S. Moshier) and a polynomial of degree 6 on [-ln2/2, ln2/2], fitted for
    /// least relative error (3e-9), in the short chains of Estrin's scheme.
    @inline(always)
    private func exponential(exponentOfOne: Float) -> Lanes {
        // -ln 2 · exponentOfOne, where the exponent field becomes zero, and with it the result.
        let smallest = Lanes(repeating: -0.693_147_18 * exponentOfOne)
        let x = replacing(with: smallest, where: self .< smallest)
        // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits, where it is to be an exponent field.
        let zero = 12_582_912 + exponentOfOne
        let shifted = x.multiplyAdd(1.442_695_04, Lanes(repeating: zero))
        let power = shifted - zero
        let r = power.multiplyAdd(2.121_944_4e-4, power.multiplyAdd(-0.693_359_375, x))
        let square = r * r
        let low = r.multiplyAdd(1.666_652_04e-1, Lanes(repeating: 4.999_999_34e-1))
        let middle = r.multiplyAdd(8.368_745_13e-3, Lanes(repeating: 4.166_839_08e-2))
        let high = square.multiplyAdd(1.381_454_0e-3, middle)
        let p = high.multiplyAdd(square, low).multiplyAdd(square, r)
        let scale = unsafeBitCast(unsafeBitCast(shifted, to: SIMD16<UInt32>.self) &<< 23, to: Lanes.self)
        // e^r is 1 + p.
        return p.multiplyAdd(scale, scale)
    }

    /// Natural logarithm of positive normal numbers, within 2 units in the last place (Cephes `logf`, S. Moshier).
    @inline(always)
    var logarithm: Lanes {
        // Splits self = m · 2^k with m in [√½, √2): the bits of √½ are subtracted so that the exponent field is k.
        let sqrtHalf: UInt32 = 0x3f35_04f3
        let offset = unsafeBitCast(self, to: SIMD16<UInt32>.self) &- sqrtHalf
        let mantissa = (offset & 0x007f_ffff) &+ sqrtHalf
        let m = unsafeBitCast(mantissa, to: Lanes.self) - 1
        // k + 256 in the low bits of 2²³ + 256 + k.
        let biased = ((offset &+ 0x8000_0000) &>> 23) | 0x4b00_0000
        let k = unsafeBitCast(biased, to: Lanes.self) - (8_388_608 + 256)
        var p = m.multiplyAdd(7.037_683_6e-2, Lanes(repeating: -1.151_461e-1))
        p = p.multiplyAdd(m, 1.167_699_9e-1)
        p = p.multiplyAdd(m, -1.242_014_1e-1)
        p = p.multiplyAdd(m, 1.424_932_3e-1)
        p = p.multiplyAdd(m, -1.666_805_8e-1)
        p = p.multiplyAdd(m, 2.000_071_5e-1)
        p = p.multiplyAdd(m, -2.499_999_4e-1)
        p = p.multiplyAdd(m, 3.333_333_1e-1)
        let square = m * m
        let tail = k.multiplyAdd(-2.121_944_4e-4, p * square * m)
        return k.multiplyAdd(0.693_359_375, m + square.multiplyAdd(-0.5, tail))
    }

    /// Cosine and sine for angles in [-π/4, π/4], within 2 units in the last place (Cephes, S. Moshier).
    @inline(always)
    var cosineAndSine: (cosine: Lanes, sine: Lanes) {
        let square = self * self
        var s = square.multiplyAdd(-1.951_529_6e-4, Lanes(repeating: 8.332_161e-3))
        s = s.multiplyAdd(square, -1.666_665_5e-1)
        var c = square.multiplyAdd(2.443_315_7e-5, Lanes(repeating: -1.388_731_6e-3))
        c = c.multiplyAdd(square, 4.166_664_6e-2)
        return (
            c.multiplyAdd(square * square, square.multiplyAdd(-0.5, Lanes(repeating: 1))),
            s.multiplyAdd(square * self, self)
        )
    }

    /// Standard normal distribution function Φ(self) = (1 + erf(self/√2))/2 and density φ(self); relative error of
    /// Φ about 2e-7 up to |self| = 5, also in the lower tail.
    ///
    /// Φ(-z) = e^(-z²/2) · P(t), t = 1/(1 + 0.2316419 z) for z ≥ 0, the form of Abramowitz and Stegun 26.2.17 with a
    /// polynomial of degree 8 fitted for least relative error (1.3e-7) on 0...14.
    @inline(always)
    var normalDistribution: (cumulative: Lanes, density: Lanes) {
        let z = replacing(with: Lanes.zero - self, where: self .< Lanes.zero)
        let t = 1 / z.multiplyAdd(0.231_641_9, Lanes(repeating: 1))
        let kernel = (self * self * -0.5).exponentialUpTo88
        var p = t.multiplyAdd(-0.070_424_135, Lanes(repeating: 0.247_686_65))
        p = p.multiplyAdd(t, -0.201_660_37)
        p = p.multiplyAdd(t, 0.225_253_35)
        p = p.multiplyAdd(t, 0.013_551_809)
        p = p.multiplyAdd(t, 0.102_650_43)
        p = p.multiplyAdd(t, 0.090_420_08)
        p = p.multiplyAdd(t, 0.092_522_25)
        let tail = p * t * kernel
        return ((1 - tail).replacing(with: tail, where: self .< Lanes.zero), kernel * 0.398_942_28)
    }
}
