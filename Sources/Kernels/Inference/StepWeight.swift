/// What products of few rows sum in: one vector register, of which they fill as many as there are.
#if WIDE_VECTORS
    public typealias StepLanes = SIMD16<Float>
    private typealias StepHalves = SIMD16<UInt16>
    private typealias StepBytes = SIMD16<Int8>
#else
    public typealias StepLanes = SIMD8<Float>
    private typealias StepHalves = SIMD8<UInt16>
    private typealias StepBytes = SIMD8<Int8>
#endif

/// A number of a weight as it is kept: fp32, or in fewer bytes to read, rounded to bf16 or a multiple of its row's scale.
public protocol StepWeight: BitwiseCopyable {
    /// The elements at `address`.
    static func lanes(_ address: UnsafePointer<Self>) -> StepLanes
    var value: Float { get }
}

extension StepWeight {
    /// The first `count` elements at `address`, fewer than there are lanes; zero in the lanes past them.
    @inline(__always)
    static func lanes(_ address: UnsafePointer<Self>, first count: Int) -> StepLanes {
        var lanes = StepLanes.zero
        for lane in 0..<count { lanes[lane] = address[lane].value }
        return lanes
    }
}

extension Float: StepWeight {
    @inline(__always)
    public static func lanes(_ address: UnsafePointer<Float>) -> StepLanes {
        UnsafeRawPointer(address).loadUnaligned(as: StepLanes.self)
    }

    public var value: Float { self }
}

/// The upper half of an fp32 number.
public struct BFloat16: StepWeight {
    public let bits: UInt16

    /// The nearest, of two the even one. NaN stays NaN.
    public init(_ value: Float) {
        let bits = value.bitPattern
        let rounded = (bits &+ 0x7FFF &+ (bits >> 16 & 1)) >> 16
        self.bits = UInt16(truncatingIfNeeded: value.isNaN ? bits >> 16 | 0x40 : rounded)
    }

    public var value: Float { Float(bitPattern: UInt32(bits) << 16) }

    @inline(__always)
    public static func lanes(_ address: UnsafePointer<BFloat16>) -> StepLanes {
        // Lane by lane, which becomes one instruction; the conversion of whole vectors is a call.
        var wide = StepLanes.MaskStorage.zero
        let halves = UnsafeRawPointer(address).loadUnaligned(as: StepHalves.self)
        for lane in 0..<StepLanes.scalarCount {
            wide[lane] = Int32(truncatingIfNeeded: halves[lane])
        }
        return unsafeBitCast(wide &<< 16, to: StepLanes.self)
    }
}

extension Int8: StepWeight {
    @inline(__always)
    public static func lanes(_ address: UnsafePointer<Int8>) -> StepLanes {
        // Lane by lane, as of bf16.
        let bytes = UnsafeRawPointer(address).loadUnaligned(as: StepBytes.self)
        var wide = StepLanes.zero
        for lane in 0..<StepLanes.scalarCount { wide[lane] = Float(bytes[lane]) }
        return wide
    }

    public var value: Float { Float(self) }
}
