/// Products of few rows with a large weight: every token that is generated is one. The weight is read from memory once
/// for all rows, which is what such a product takes.
public enum FewRows {
    /// Beyond this many rows, products in blocks of the cache are faster.
    public static let mostRows = 16

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
        var output = 0
        while output < weight.rows {
            let outputs = output &+ 4 <= weight.rows ? 4 : 1
            var row = 0
            while row < x.rows {
                let rows = x.rows &- row >= 4 ? 4 : 1
                let (w, input) = (weight.base + output &* weight.stride, x.base + row &* x.stride)
                let target = y.base + (row &* y.stride &+ output)
                switch (outputs, rows) {
                case (4, 4): fourByFour(w, weight.stride, input, x.stride, x.columns, target, y.stride)
                case (4, _): fourByOne(w, weight.stride, input, x.columns, target)
                default:
                    for index in 0..<rows {
                        target[index &* y.stride] = dot(w, input + index &* x.stride, x.columns)
                    }
                }
                row &+= rows
            }
            output &+= outputs
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

    /// Four rows of the weight by one of the input.
    private static func fourByOne<Element: StepWeight>(
        _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ count: Int,
        _ y: UnsafeMutablePointer<Float>
    ) {
        let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
        var (sum0, sum1, sum2, sum3) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var offset = 0
        while offset &+ 16 <= count {
            let input = load(x + offset, 16)
            sum0 = Element.lanes(w + offset, 16).multiplyAdd(input, sum0)
            sum1 = Element.lanes(w1 + offset, 16).multiplyAdd(input, sum1)
            sum2 = Element.lanes(w2 + offset, 16).multiplyAdd(input, sum2)
            sum3 = Element.lanes(w3 + offset, 16).multiplyAdd(input, sum3)
            offset &+= 16
        }
        (y[0], y[1], y[2], y[3]) = (sum0.total, sum1.total, sum2.total, sum3.total)
        guard offset < count else { return }
        for output in 0..<4 {
            y[output] += dot(w + (output &* stride &+ offset), x + offset, count &- offset)
        }
    }

    /// Four rows of the weight by four of the input: sixteen accumulators.
    private static func fourByFour<Element: StepWeight>(
        _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ xStride: Int, _ count: Int,
        _ y: UnsafeMutablePointer<Float>, _ yStride: Int
    ) {
        let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
        let (x1, x2, x3) = (x + xStride, x + 2 &* xStride, x + 3 &* xStride)
        var (s00, s01, s02, s03) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (s10, s11, s12, s13) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (s20, s21, s22, s23) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var (s30, s31, s32, s33) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        var offset = 0
        while offset &+ 16 <= count {
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
        (y[0], y[1], y[2], y[3]) = (s00.total, s01.total, s02.total, s03.total)
        let y1 = y + yStride
        (y1[0], y1[1], y1[2], y1[3]) = (s10.total, s11.total, s12.total, s13.total)
        let y2 = y1 + yStride
        (y2[0], y2[1], y2[2], y2[3]) = (s20.total, s21.total, s22.total, s23.total)
        let y3 = y2 + yStride
        (y3[0], y3[1], y3[2], y3[3]) = (s30.total, s31.total, s32.total, s33.total)
        guard offset < count else { return }
        // A remainder within the loop would keep the accumulators out of registers.
        for row in 0..<4 {
            for output in 0..<4 {
                y[row &* yStride &+ output] += dot(
                    w + (output &* stride &+ offset), x + (row &* xStride &+ offset), count &- offset)
            }
        }
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
        var halves = SIMD16<UInt16>.zero
        if count == 16 {
            halves = UnsafeRawPointer(address).loadUnaligned(as: SIMD16<UInt16>.self)
        } else {
            for index in 0..<count { halves[index] = address[index].bits }
        }
        return unsafeBitCast(SIMD16<UInt32>(truncatingIfNeeded: halves) &<< 16, to: SIMD16<Float>.self)
    }
}
