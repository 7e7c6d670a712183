import CTiles

/// Products of few rows, some hundred at most, with a large weight: every token that is generated is one. The weight is read
/// from memory once for all rows; of so few, packing it for a product in blocks would take longer than the product.
public enum FewRows {
    /// Y[m,n] = X[m,k]·W[n,k]ᵀ·s[n] + b[n], split over the rows of W. Rounded as sums of `StepLanes`; rows do not influence
    /// each other.
    ///
    /// - Parameter scales: s, what the numbers of a row of the weight are multiples of; nil is 1.
    @_specialize(where Element == Float)  // Callers are of another module.
    @_specialize(where Element == BFloat16)
    @_specialize(where Element == Int8)
    public static func forward<Element: StepWeight>(
        _ x: Matrix, weight: MatrixView<Element>, scales: Vector? = nil, bias: Vector? = nil, into y: Matrix,
        on team: ThreadTeam = .alone
    ) {
        precondition(
            x.columns == weight.columns && y.columns == weight.rows && x.rows == y.rows
                && (bias?.count ?? weight.rows) == weight.rows
                && (scales?.count ?? weight.rows) == weight.rows,
            "\(x.shape) times \(weight.shape) transposed is not \(y.shape)")
        team.split(weight.rows, grain: 16, (x, weight, scales, bias, y)) { operands, rows, _ in
            let (x, weight, scales, bias, y) = operands
            forward(x, weight: weight.rows(rows), into: y.columns(rows))
            finish(y.columns(rows), scales?.slice(rows), bias?.slice(rows))
        }
    }

    private static func forward<Element: StepWeight>(
        _ x: Matrix, weight: MatrixView<Element>, into y: Matrix
    ) {
        let width = StepLanes.scalarCount
        let (blocked, whole) = (weight.rows / 4 &* 4, x.columns / width &* width)
        for output in stride(from: 0, to: blocked, by: 4) {
            // The next rows of the weight come in while these are multiplied, shared out among the passes over them.
            let w = weight.base + output &* weight.stride
            var ahead = Ahead(
                output &+ 4 < blocked ? w + 4 &* weight.stride : w,
                rows: rowsAhead(passes: x.rows / rowsAtOnce + x.rows % rowsAtOnce, of: Element.self))
            var row = 0
            while row < x.rows {
                let input = x.base + row &* x.stride
                let target = y.base + (row &* y.stride &+ output)
                let rows = row &+ rowsAtOnce <= x.rows ? rowsAtOnce : 1
                if rows == rowsAtOnce {
                    fourBySome(w, weight.stride, input, x.stride, x.columns, target, y.stride, ahead)
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
    }

    /// y = y·s + b
    private static func finish(_ y: Matrix, _ scales: Vector?, _ bias: Vector?) {
        guard scales != nil || bias != nil else { return }
        for row in 0..<y.rows {
            let target = y.base + row &* y.stride
            @inline(always) func finish(_ offset: Int, _ lanes: Int) {
                var sum = load(target + offset, lanes)
                if let scales { sum *= load(scales.base + offset, lanes) }
                if let bias { sum += load(bias.base + offset, lanes) }
                store(sum, target + offset, lanes)
            }
            forEachLanes(y.columns, finish)
        }
    }

    /// How far a pass asks ahead: by so many rows of the weight, four in all passes together.
    ///
    /// Not at all for a single pass over fp32 on CPUs whose own prefetching is faster at that, by a tenth on AMD's Zen 3; it
    /// follows shorter rows badly: of 768 numbers in 8 bits it alone brought 7 GB/s, and 16 with this.
    private static func rowsAhead<Element>(passes: Int, of type: Element.Type) -> Int {
        #if WIDE_VECTORS
            let ofSingle = 4
        #else
            let ofSingle = MemoryLayout<Element>.size < MemoryLayout<Float>.size ? 4 : 0
        #endif
        return passes == 1 ? ofSingle : passes < 4 ? 2 : 1
    }

    /// What is read next, and asked for.
    private struct Ahead<Element> {
        private var address: UnsafePointer<Element>
        private let rows: Int

        @inline(__always)
        init(_ address: UnsafePointer<Element>, rows: Int) {
            self.address = address
            self.rows = rows
        }

        /// In the turn of a pass that is `offset` elements along a row.
        @inline(__always)
        func fetch(_ offset: Int) {
            guard rows > 0 else { return }
            let first = UnsafeRawPointer(address + offset &* rows)
            let bytes = rows &* StepLanes.scalarCount &* MemoryLayout<Element>.size
            lockstep_prefetch(first)
            guard bytes > 64 else { return }
            lockstep_prefetch(first + 64)
            guard bytes > 128 else { return }
            lockstep_prefetch(first + 128)
            lockstep_prefetch(first + 192)
        }

        /// The next pass, over `columns` elements, goes on where this one ended.
        @inline(__always)
        mutating func pass(_ columns: Int) { address += rows &* columns }
    }

    /// Σ a[i]·b[i] in one accumulator, as the products below sum.
    @inline(always)
    private static func dot<Element: StepWeight>(
        _ a: UnsafePointer<Element>, _ b: UnsafePointer<Float>, _ count: Int
    ) -> Float {
        var sum = StepLanes.zero
        var offset = 0
        while offset &+ StepLanes.scalarCount <= count {
            sum.addProduct(Element.lanes(a + offset), Float.lanes(b + offset))
            offset &+= StepLanes.scalarCount
        }
        if offset < count {
            sum.addProduct(
                Element.lanes(a + offset, first: count &- offset),
                Float.lanes(b + offset, first: count &- offset))
        }
        return totals(sum, .zero, .zero, .zero).x
    }

    /// Four rows of the weight by one of the input, as far as whole vectors go.
    @inline(never)  // Within the loop around it, accumulators would not stay in registers.
    private static func fourByOne<Element: StepWeight>(
        _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ count: Int,
        _ y: UnsafeMutablePointer<Float>, _ ahead: Ahead<Element>
    ) {
        let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
        var (sum0, sum1, sum2, sum3) = (StepLanes.zero, StepLanes.zero, StepLanes.zero, StepLanes.zero)
        var offset = 0
        while offset &+ StepLanes.scalarCount <= count {
            ahead.fetch(offset)
            let input = Float.lanes(x + offset)
            sum0.addProduct(Element.lanes(w + offset), input)
            sum1.addProduct(Element.lanes(w1 + offset), input)
            sum2.addProduct(Element.lanes(w2 + offset), input)
            sum3.addProduct(Element.lanes(w3 + offset), input)
            offset &+= StepLanes.scalarCount
        }
        put(totals(sum0, sum1, sum2, sum3), y)
    }

    #if WIDE_VECTORS
        private static let rowsAtOnce = 4

        /// Four rows of the weight by four of the input, as far as whole vectors go: sixteen accumulators of 32 registers.
        @inline(never)
        private static func fourBySome<Element: StepWeight>(
            _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ xStride: Int,
            _ count: Int,
            _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ ahead: Ahead<Element>
        ) {
            let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
            let (x1, x2, x3) = (x + xStride, x + 2 &* xStride, x + 3 &* xStride)
            var (s00, s01, s02, s03) = (StepLanes.zero, StepLanes.zero, StepLanes.zero, StepLanes.zero)
            var (s10, s11, s12, s13) = (s00, s00, s00, s00)
            var (s20, s21, s22, s23) = (s00, s00, s00, s00)
            var (s30, s31, s32, s33) = (s00, s00, s00, s00)
            var offset = 0
            while offset &+ StepLanes.scalarCount <= count {
                ahead.fetch(offset)
                let (a, b) = (Element.lanes(w + offset), Element.lanes(w1 + offset))
                let (c, d) = (Element.lanes(w2 + offset), Element.lanes(w3 + offset))
                let input0 = Float.lanes(x + offset)
                s00.addProduct(a, input0)
                s01.addProduct(b, input0)
                s02.addProduct(c, input0)
                s03.addProduct(d, input0)
                let input1 = Float.lanes(x1 + offset)
                s10.addProduct(a, input1)
                s11.addProduct(b, input1)
                s12.addProduct(c, input1)
                s13.addProduct(d, input1)
                let input2 = Float.lanes(x2 + offset)
                s20.addProduct(a, input2)
                s21.addProduct(b, input2)
                s22.addProduct(c, input2)
                s23.addProduct(d, input2)
                let input3 = Float.lanes(x3 + offset)
                s30.addProduct(a, input3)
                s31.addProduct(b, input3)
                s32.addProduct(c, input3)
                s33.addProduct(d, input3)
                offset &+= StepLanes.scalarCount
            }
            put(totals(s00, s01, s02, s03), y)
            put(totals(s10, s11, s12, s13), y + yStride)
            put(totals(s20, s21, s22, s23), y + 2 &* yStride)
            put(totals(s30, s31, s32, s33), y + 3 &* yStride)
        }
    #else
        private static let rowsAtOnce = 3

        /// Four rows of the weight by three of the input, as far as whole vectors go: twelve accumulators of 16 registers.
        @inline(never)
        private static func fourBySome<Element: StepWeight>(
            _ w: UnsafePointer<Element>, _ stride: Int, _ x: UnsafePointer<Float>, _ xStride: Int,
            _ count: Int,
            _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ ahead: Ahead<Element>
        ) {
            let (w1, w2, w3) = (w + stride, w + 2 &* stride, w + 3 &* stride)
            let (x1, x2) = (x + xStride, x + 2 &* xStride)
            var (s00, s01, s02, s03) = (StepLanes.zero, StepLanes.zero, StepLanes.zero, StepLanes.zero)
            var (s10, s11, s12, s13) = (s00, s00, s00, s00)
            var (s20, s21, s22, s23) = (s00, s00, s00, s00)
            var offset = 0
            while offset &+ StepLanes.scalarCount <= count {
                ahead.fetch(offset)
                let (input0, input1) = (Float.lanes(x + offset), Float.lanes(x1 + offset))
                let input2 = Float.lanes(x2 + offset)
                let a = Element.lanes(w + offset)
                s00.addProduct(a, input0)
                s10.addProduct(a, input1)
                s20.addProduct(a, input2)
                let b = Element.lanes(w1 + offset)
                s01.addProduct(b, input0)
                s11.addProduct(b, input1)
                s21.addProduct(b, input2)
                let c = Element.lanes(w2 + offset)
                s02.addProduct(c, input0)
                s12.addProduct(c, input1)
                s22.addProduct(c, input2)
                let d = Element.lanes(w3 + offset)
                s03.addProduct(d, input0)
                s13.addProduct(d, input1)
                s23.addProduct(d, input2)
                offset &+= StepLanes.scalarCount
            }
            put(totals(s00, s01, s02, s03), y)
            put(totals(s10, s11, s12, s13), y + yStride)
            put(totals(s20, s21, s22, s23), y + 2 &* yStride)
        }
    #endif

    /// The sums of the lanes of four vectors.
    @inline(__always)
    private static func totals(
        _ a: StepLanes, _ b: StepLanes, _ c: StepLanes, _ d: StepLanes
    ) -> SIMD4<Float> {
        @inline(__always) func two(_ lanes: StepLanes) -> SIMD2<Float> {
            #if WIDE_VECTORS
                let eight = lanes.lowHalf + lanes.highHalf
            #else
                let eight = lanes
            #endif
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
