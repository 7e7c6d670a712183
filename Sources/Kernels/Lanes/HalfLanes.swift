/// Sixteen numbers of 16 bits.
typealias HalfLanes = SIMD16<UInt16>
/// The bits of sixteen numbers in fp32. Compared with each other: with one number, comparisons become calls.
private typealias Words = SIMD16<UInt32>

extension SIMD16 where Scalar == Float {
    /// The bits of the nearest bf16 numbers, of two as near the even one. What is beyond the largest becomes infinite; NaN
    /// stays NaN.
    @inline(always)
    var roundedToBF16: HalfLanes {
        let bits = unsafeBitCast(self, to: Words.self)
        let rounded = (bits &+ 0x7FFF &+ ((bits &>> 16) & 1)) &>> 16
        let quiet = (bits &>> 16) | 0x40
        return rounded.replacing(with: quiet, where: self .!= self).lowHalves
    }

    /// The same of fp16 numbers, whose largest is 65504; below 2^-14 they are denormal, below 2^-25 zero.
    ///
    /// In integers (F. Giesen, "float to half conversions"), since not every CPU that this runs on has instructions for it.
    @inline(always)
    var roundedToFP16: HalfLanes {
        let all = unsafeBitCast(self, to: Words.self)
        let bits = all & 0x7FFF_FFFF
        // Normal numbers: another exponent bias, and half a unit in the last place, less one bit where that is even.
        let normal = (bits &+ 0xC800_0FFF &+ ((bits &>> 13) & 1)) &>> 13
        // Denormal ones: adding ½ leaves the mantissa rounded in the low bits.
        let shifted = unsafeBitCast(bits, to: SIMD16<Float>.self) + 0.5
        let denormal = unsafeBitCast(shifted, to: Words.self) &- 0x3F00_0000
        var result = normal.replacing(with: denormal, where: bits .< Words(repeating: 0x3880_0000))
        result = result.replacing(
            with: Words(repeating: 0x7C00), where: bits .>= Words(repeating: 0x4780_0000))
        result = result.replacing(
            with: Words(repeating: 0x7E00), where: bits .> Words(repeating: 0x7F80_0000))
        return (result | ((all &>> 16) & 0x8000)).lowHalves
    }

    /// The numbers whose bf16 bits these are.
    @inline(always)
    init(bf16 bits: HalfLanes) { self = unsafeBitCast(bits.widened &<< 16, to: SIMD16<Float>.self) }

    /// The numbers whose fp16 bits these are.
    @inline(always)
    init(fp16 bits: HalfLanes) {
        let all = bits.widened
        let magnitude = (all & 0x7FFF) &<< 13
        let normal = magnitude &+ 0x3800_0000
        // Infinities and NaN have the largest exponent in both formats.
        let special = magnitude &+ 0x7000_0000
        // A denormal one is its mantissa in units of 2^-24.
        let denormal = unsafeBitCast(magnitude &+ 0x3880_0000, to: SIMD16<Float>.self) - 0x1p-14
        var result = normal.replacing(with: special, where: magnitude .>= Words(repeating: 0x0F80_0000))
        result = result.replacing(
            with: unsafeBitCast(denormal, to: Words.self), where: magnitude .< Words(repeating: 0x0080_0000))
        self = unsafeBitCast(result | ((all & 0x8000) &<< 16), to: SIMD16<Float>.self)
    }
}

// Lane by lane, which becomes an instruction or two; the conversions of whole vectors are calls.

extension SIMD16 where Scalar == UInt32 {
    @inline(always)
    fileprivate var lowHalves: HalfLanes {
        var halves = HalfLanes.zero
        for lane in 0..<16 { halves[lane] = UInt16(truncatingIfNeeded: self[lane]) }
        return halves
    }
}

extension SIMD16 where Scalar == UInt16 {
    @inline(always)
    fileprivate var widened: Words {
        var wide = Words.zero
        for lane in 0..<16 { wide[lane] = UInt32(truncatingIfNeeded: self[lane]) }
        return wide
    }
}

/// The first `count` (1...16) elements at `address`; zero in the lanes past them.
@inline(always)
func load(_ address: UnsafePointer<UInt16>, _ count: Int) -> HalfLanes {
    if count == HalfLanes.scalarCount {
        return UnsafeRawPointer(address).loadUnaligned(as: HalfLanes.self)
    }
    var lanes = HalfLanes.zero
    withUnsafeMutableBytes(of: &lanes) {
        $0.baseAddress!.copyMemory(from: address, byteCount: count &* MemoryLayout<UInt16>.stride)
    }
    return lanes
}

/// Writes the first `count` (1...16) lanes to `address`.
@inline(always)
func store(_ lanes: HalfLanes, _ address: UnsafeMutablePointer<UInt16>, _ count: Int) {
    if count == HalfLanes.scalarCount {
        UnsafeMutableRawPointer(address).storeBytes(of: lanes, as: HalfLanes.self)
        return
    }
    withUnsafeBytes(of: lanes) {
        UnsafeMutableRawPointer(address)
            .copyMemory(from: $0.baseAddress!, byteCount: count &* MemoryLayout<UInt16>.stride)
    }
}
