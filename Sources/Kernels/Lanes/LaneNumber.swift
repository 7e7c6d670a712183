/// A number that row kernels read and write, sixteen at a time: fp32, or kept in 16 bits and computed with in fp32.
///
/// Types, not closures: closures stayed calls, once for every vector.
protocol LaneNumber: BitwiseCopyable {
    /// The first `count` (1...16) numbers at `address`; lanes past them hold `fill`.
    static func lanes(_ address: UnsafePointer<Self>, _ count: Int, fill: Float) -> Lanes
    /// Writes the first `count` (1...16) lanes to `address`, rounded to the nearest.
    static func store(_ lanes: Lanes, _ address: UnsafeMutablePointer<Self>, _ count: Int)
}

extension LaneNumber {
    /// The same with zero in the lanes past them.
    @inline(always)
    static func lanes(_ address: UnsafePointer<Self>, _ count: Int) -> Lanes {
        lanes(address, count, fill: 0)
    }
}

extension Float: LaneNumber {
    @inline(always)
    static func lanes(_ address: UnsafePointer<Float>, _ count: Int, fill: Float) -> Lanes {
        load(address, count, fill: fill)
    }
    @inline(always)
    static func store(_ lanes: Lanes, _ address: UnsafeMutablePointer<Float>, _ count: Int) {
        Kernels.store(lanes, address, count)
    }
}

/// A number of 16 bits.
protocol HalfNumber: LaneNumber {
    static func narrow(_ numbers: Lanes) -> HalfLanes
    static func wide(_ bits: HalfLanes) -> Lanes
}

extension HalfNumber {
    @inline(always)
    static func lanes(_ address: UnsafePointer<Self>, _ count: Int, fill: Float) -> Lanes {
        var lanes = wide(load(UnsafeRawPointer(address).assumingMemoryBound(to: UInt16.self), count))
        if count < Lanes.scalarCount {
            for lane in count..<Lanes.scalarCount { lanes[lane] = fill }
        }
        return lanes
    }
    @inline(always)
    static func store(_ lanes: Lanes, _ address: UnsafeMutablePointer<Self>, _ count: Int) {
        let bits = UnsafeMutableRawPointer(address).assumingMemoryBound(to: UInt16.self)
        Kernels.store(narrow(lanes), bits, count)
    }
}

/// A number of `HalfFormat.bf16`.
struct BF16: HalfNumber {
    let bits: UInt16
    @inline(always) static func narrow(_ numbers: Lanes) -> HalfLanes { numbers.roundedToBF16 }
    @inline(always) static func wide(_ bits: HalfLanes) -> Lanes { Lanes(bf16: bits) }
}

/// A number of `HalfFormat.fp16`.
struct FP16: HalfNumber {
    let bits: UInt16
    @inline(always) static func narrow(_ numbers: Lanes) -> HalfLanes { numbers.roundedToFP16 }
    @inline(always) static func wide(_ bits: HalfLanes) -> Lanes { Lanes(fp16: bits) }
}

extension MatrixView where Element == UInt16 {
    /// The same memory as numbers of a format.
    func of<Number: HalfNumber>(_ type: Number.Type) -> MatrixView<Number> {
        MatrixView<Number>(
            base: UnsafeMutableRawPointer(base).assumingMemoryBound(to: Number.self), rows: rows,
            columns: columns, stride: stride)
    }
}
