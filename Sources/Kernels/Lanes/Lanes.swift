/// What one vector instruction works on: 16 fp32 elements.
typealias Lanes = SIMD16<Float>

/// The first `count` (1...16) elements at `address`; lanes past them hold `fill`.
@inline(always)
func load(_ address: UnsafePointer<Float>, _ count: Int, fill: Float = 0) -> Lanes {
    if count == Lanes.scalarCount {
        return UnsafeRawPointer(address).loadUnaligned(as: Lanes.self)
    }
    var lanes = Lanes(repeating: fill)
    withUnsafeMutableBytes(of: &lanes) {
        $0.baseAddress!.copyMemory(from: address, byteCount: count &* MemoryLayout<Float>.stride)
    }
    return lanes
}

/// Writes the first `count` (1...16) lanes to `address`.
@inline(always)
func store(_ lanes: Lanes, _ address: UnsafeMutablePointer<Float>, _ count: Int) {
    if count == Lanes.scalarCount {
        UnsafeMutableRawPointer(address).storeBytes(of: lanes, as: Lanes.self)
        return
    }
    withUnsafeBytes(of: lanes) {
        UnsafeMutableRawPointer(address)
            .copyMemory(from: $0.baseAddress!, byteCount: count &* MemoryLayout<Float>.stride)
    }
}

/// Calls `body(offset, lanes)` for offsets 0, 16, … below `count`; only the last call has fewer than 16 lanes.
///
/// Inlined, that is a loop of whole vectors and one remainder. The body should be an `@inline(always)` function:
/// a closure that is called in two places becomes a call in the loop.
@inline(always)
func forEachLanes(_ count: Int, _ body: (_ offset: Int, _ lanes: Int) -> Void) {
    let width = Lanes.scalarCount
    var offset = 0
    while offset &+ width <= count {
        body(offset, width)
        offset &+= width
    }
    if offset < count { body(offset, count &- offset) }
}

/// Sum of `term(offset, lanes)` over `count` elements, in an order that depends on `count` alone.
///
/// Terms of the lanes past the end must be zero. Four accumulators hide the latency of the additions.
@inline(always)
func sumLanes(_ count: Int, _ term: (_ offset: Int, _ lanes: Int) -> Lanes) -> Float {
    let width = Lanes.scalarCount
    var sum0 = Lanes.zero
    var sum1 = Lanes.zero
    var sum2 = Lanes.zero
    var sum3 = Lanes.zero
    var offset = 0
    while offset &+ 4 &* width <= count {
        sum0 += term(offset, width)
        sum1 += term(offset &+ width, width)
        sum2 += term(offset &+ 2 &* width, width)
        sum3 += term(offset &+ 3 &* width, width)
        offset &+= 4 &* width
    }
    while offset &+ width <= count {
        sum0 += term(offset, width)
        offset &+= width
    }
    if offset < count { sum1 += term(offset, count &- offset) }
    return ((sum0 + sum1) + (sum2 + sum3)).total
}

/// Largest of `count` elements; -∞ when there are none. NaN elements are passed over.
@inline(always)
func maximum(_ address: UnsafePointer<Float>, _ count: Int) -> Float {
    let width = Lanes.scalarCount
    var maximum0 = Lanes(repeating: -.infinity)
    var maximum1 = maximum0
    var offset = 0
    while offset &+ 2 &* width <= count {
        maximum0 = maximum0.larger(load(address + offset, width))
        maximum1 = maximum1.larger(load(address + (offset &+ width), width))
        offset &+= 2 &* width
    }
    while offset < count {
        let lanes = min(width, count &- offset)
        maximum0 = maximum0.larger(load(address + offset, lanes, fill: -.infinity))
        offset &+= lanes
    }
    return maximum0.larger(maximum1).largest
}

extension SIMD16 where Scalar == Float {
    /// Sum of the lanes, by halves: a fixed order that costs four additions.
    @inline(always)
    var total: Float {
        let eight = lowHalf + highHalf
        let four = eight.lowHalf + eight.highHalf
        let two = four.lowHalf + four.highHalf
        return two.x + two.y
    }

    /// The larger of each pair of lanes; where `other` is NaN, self.
    @inline(always)
    func larger(_ other: Lanes) -> Lanes { replacing(with: other, where: other .> self) }

    /// Largest lane.
    @inline(always)
    var largest: Float {
        let eight = lowHalf.replacing(with: highHalf, where: highHalf .> lowHalf)
        let four = eight.lowHalf.replacing(with: eight.highHalf, where: eight.highHalf .> eight.lowHalf)
        let two = four.lowHalf.replacing(with: four.highHalf, where: four.highHalf .> four.lowHalf)
        return two.y > two.x ? two.y : two.x
    }

    /// self · multiplier + addend, rounded once.
    @inline(always)
    func multiplyAdd(_ multiplier: Lanes, _ addend: Lanes) -> Lanes { addend.addingProduct(self, multiplier) }

    /// self · multiplier + addend, rounded once.
    @inline(always)
    func multiplyAdd(_ multiplier: Float, _ addend: Lanes) -> Lanes {
        addend.addingProduct(self, Lanes(repeating: multiplier))
    }

    /// self · multiplier + addend, rounded once: a step of Horner's rule.
    @inline(always)
    func multiplyAdd(_ multiplier: Lanes, _ addend: Float) -> Lanes {
        Lanes(repeating: addend).addingProduct(self, multiplier)
    }
}
