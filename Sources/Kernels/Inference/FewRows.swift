import CTiles

/// Products of few rows, some hundred at most, with a large weight: every token that is generated is one. The weight is read
/// from memory once for all rows; of so few, packing it for a product in blocks would take longer than the product.
public enum FewRows {
    /// Y[m,n] = X[m,k]·W[n,k]ᵀ + b[n], split over the rows of W. Rounded as sums of sixteen lanes; rows do not influence
    /// each other.
    @_specialize(where Element == Float)  // Callers are of another module.
    @_specialize(where Element == BFloat16)
    public static func forward<Element: StepWeight>(
        _ x: Matrix, weight: MatrixView<Element>, bias: Vector? = nil, into y: Matrix,
        on team: ThreadTeam = .alone
    ) {
        precondition(
            x.columns == weight.columns && y.columns == weight.rows && x.rows == y.rows
                && (bias?.count ?? weight.rows) == weight.rows,
            "\(x.shape) times \(weight.shape) transposed is not \(y.shape)")
        team.split(weight.rows, grain: 16, (x, weight, bias, y)) { operands, rows, _ in
            let (x, weight, bias, y) = operands
            forward(x, weight: weight.rows(rows), bias: bias?.slice(rows), into: y.columns(rows))
        }
    }

    private static func forward<Element: StepWeight>(
        _ x: Matrix, weight: MatrixView<Element>, bias: Vector?, into y: Matrix
    ) {
        let (blocked, whole) = (weight.rows / 4 &* 4, x.columns / 16 &* 16)
        for output in stride(from: 0, to: blocked, by: 4) {
            // The next rows of the weight come in while these are multiplied, shared out among the passes over them.
            let w = weight.base + output &* weight.stride
            var ahead = Ahead(
                output &+ 4 < blocked ? w + 4 &* weight.stride : w,
                lines: lines(passes: x.rows / 4 + x.rows % 4))
            var row = 0
            while row < x.rows {
                let input = x.base + row &* x.stride
                let target = y.base + (row &* y.stride &+ output)
                let rows = row &+ 4 <= x.rows ? 4 : 1
                if rows == 4 {
                    fourByFour(w, weight.stride, input, x.stride, x.columns, target, y.stride, ahead)
                } else {
                    fourByOne(w, weight.stride, input, x.columns, target, ahead)
                }
                for index in 0..<(whole < x.columns ? 4 &* rows : 0) {
                    let (row, output) = (index / 4, index % 4)
                    target[row &* y.stride &+ output] += dot(
                        w + (output &* weight.stride &+ whole), input + (row &* x.stride &+ whole),
                        x.columns &- whole)
                }
                row &+= rows
                ahead.pass(x.columns)
            }
        }
        for output in blocked..<weight.rows {
            let w = weight.base + output &* weight.stride
            for row in 0..<x.rows {
                y.base[row &* y.stride &+ output] = dot(w, x.base + row &* x.stride, x.columns)
            }
        }
        guard let bias else { return }
        for row in 0..<y.rows {
            let target = y.base + row &* y.stride
            @inline(always) func add(_ offset: Int, _ lanes: Int) {
                store(load(target + offset, lanes) + load(bias.base + offset, lanes), target + offset, lanes)
            }
            forEachLanes(y.columns, add)
        }
    }

    /// Lines that are asked for at every sixteen elements of a pass, of four rows in all passes together.
    private static func lines(passes: Int) -> Int { passes == 1 ? 4 : passes < 4 ? 2 : 1 }

    /// What is read next, and asked for.
    private struct Ahead<Element> {
        private var address: UnsafePointer<Element>
        private let lines: Int

        @inline(__always)
        init(_ address: UnsafePointer<Element>, lines: Int) {
            self.address = address
            self.lines = lines
        }

        /// In the turn of a pass that is `offset` elements along a row.
        @inline(__always)
        func fetch(_ offset: Int) {
            let first = address + offset &* lines
            lockstep_prefetch(first)
            guard lines > 1 else { return }
            lockstep_prefetch(first + 16)
            guard lines > 2 else { return }
            lockstep_prefetch(first + 32)
            lockstep_prefetch(first + 48)
        }

        /// The next pass, over `columns` elements, goes on where this one ended.
        @inline(__always)
        mutating func pass(_ columns: Int) { address += lines &* columns }
    }

    /// Σ a[i]·b[i] in one accumulator, as the products below sum.
    @inline(always)
    private static func dot<Element: StepWeight>(
        _ a: UnsafePointer<Element>, _ b: UnsafePointer<Float>, _ count: Int
    ) -> Float {
        var sum = Lanes.zero
        @inline(always) func accumulate(_ offset: Int, _ lanes: Int) {
            sum = Element.lanes(a + offset, lanes).multiplyAdd(load(b + offset, lanes), sum)
        }
        forEachLanes(count, accumulate)
        return sum.total
    }

    /// Four rows of the weight by one of the input, as far as whole vectors go.
    @inline(never)  // Within the loop around it, accumulators would not stay in registers.
    private static func fourByOne<Element: StepWeight>(
        _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ count: Int,
        _ y: UnsafeMutablePointer<Float>, _ ahead: Ahead<Element>
    ) {
        let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
        var (sum0, sum1, sum2, sum3) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var offset = 0
        while offset &+ 16 <= count {
            ahead.fetch(offset)
            let input = load(x + offset, 16)
            sum0 = Element.lanes(w + offset, 16).multiplyAdd(input, sum0)
            sum1 = Element.lanes(w1 + offset, 16).multiplyAdd(input, sum1)
            sum2 = Element.lanes(w2 + offset, 16).multiplyAdd(input, sum2)
            sum3 = Element.lanes(w3 + offset, 16).multiplyAdd(input, sum3)
            offset &+= 16
        }
        put(totals(sum0, sum1, sum2, sum3), y)
    }

    /// Four rows of the weight by four of the input, as far as whole vectors go: sixteen accumulators.
    @inline(never)
    private static func fourByFour<Element: StepWeight>(
        _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ xStride: Int, _ count: Int,
        _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ ahead: Ahead<Element>
    ) {
        let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
        let (x1, x2, x3) = (x + xStride, x + 2 &* xStride, x + 3 &* xStride)
        var (s00, s01, s02, s03) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (s10, s11, s12, s13) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (s20, s21, s22, s23) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (s30, s31, s32, s33) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var offset = 0
        while offset &+ 16 <= count {
            ahead.fetch(offset)
            let (a, b) = (Element.lanes(w + offset, 16), Element.lanes(w1 + offset, 16))
            let (c, d) = (Element.lanes(w2 + offset, 16), Element.lanes(w3 + offset, 16))
            let input0 = load(x + offset, 16)
            (s00, s01) = (a.multiplyAdd(input0, s00), b.multiplyAdd(input0, s01))
            (s02, s03) = (c.multiplyAdd(input0, s02), d.multiplyAdd(input0, s03))
            let input1 = load(x1 + offset, 16)
            (s10, s11) = (a.multiplyAdd(input1, s10), b.multiplyAdd(input1, s11))
            (s12, s13) = (c.multiplyAdd(input1, s12), d.multiplyAdd(input1, s13))
            let input2 = load(x2 + offset, 16)
            (s20, s21) = (a.multiplyAdd(input2, s20), b.multiplyAdd(input2, s21))
            (s22, s23) = (c.multiplyAdd(input2, s22), d.multiplyAdd(input2, s23))
            let input3 = load(x3 + offset, 16)
            (s30, s31) = (a.multiplyAdd(input3, s30), b.multiplyAdd(input3, s31))
            (s32, s33) = (c.multiplyAdd(input3, s32), d.multiplyAdd(input3, s33))
            offset &+= 16
        }
        put(totals(s00, s01, s02, s03), y)
        put(totals(s10, s11, s12, s13), y + yStride)
        put(totals(s20, s21, s22, s23), y + 2 &* yStride)
        put(totals(s30, s31, s32, s33), y + 3 &* yStride)
    }

    /// The sums of the lanes of four vectors.
    @inline(__always)
    private static func totals(_ a: Lanes, _ b: Lanes, _ c: Lanes, _ d: Lanes) -> SIMD4<Float> {
        @inline(__always) func two(_ lanes: Lanes) -> SIMD2<Float> {
            let eight = lanes.lowHalf + lanes.highHalf
            let four = eight.lowHalf + eight.highHalf
            return four.lowHalf + four.highHalf
        }
        let pairs = SIMD8(
            lowHalf: SIMD4(lowHalf: two(a), highHalf: two(b)),
            highHalf: SIMD4(lowHalf: two(c), highHalf: two(d)))
        return pairs.evenHalf + pairs.oddHalf
    }

    @inline(__always)
    private static func put(_ values: SIMD4<Float>, _ address: UnsafeMutablePointer<Float>) {
        UnsafeMutableRawPointer(address).storeBytes(of: values, as: SIMD4<Float>.self)
    }
}

/// A number of a weight as it is kept: fp32, or rounded to bf16, half as many bytes to read.
public protocol StepWeight: BitwiseCopyable {
    /// The first `count` (1...16) at `address`; zero in the lanes past them.
    static func lanes(_ address: UnsafePointer<Self>, _ count: Int) -> SIMD16<Float>
}

extension Float: StepWeight {
    @inline(__always)
    public static func lanes(_ address: UnsafePointer<Float>, _ count: Int) -> SIMD16<Float> {
        load(address, count)
    }
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

    @inline(__always)
    public static func lanes(_ address: UnsafePointer<BFloat16>, _ count: Int) -> SIMD16<Float> {
        // Lane by lane, which becomes one instruction; the conversion of whole vectors is a call.
        var wide = SIMD16<UInt32>.zero
        if count == 16 {
            let halves = UnsafeRawPointer(address).loadUnaligned(as: SIMD16<UInt16>.self)
            for lane in 0..<16 { wide[lane] = UInt32(truncatingIfNeeded: halves[lane]) }
        } else {
            for lane in 0..<count { wide[lane] = UInt32(truncatingIfNeeded: address[lane].bits) }
        }
        return unsafeBitCast(wide &<< 16, to: SIMD16<Float>.self)
    }
}
