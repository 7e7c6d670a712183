/// Names the mask of one dropout layer in one step.
public struct DropoutKey: Sendable {
    let generator: Threefry

    /// `site` tells which dropout layer of the model.
    public init(seed: UInt64, step: Int, site: Int) {
        guard let step = UInt32(exactly: step), let site = UInt32(exactly: site), site < 1 << 30 else {
            preconditionFailure("step \(step) and site \(site) must be 32-bit and 30-bit numbers")
        }
        generator = Threefry(seed: seed, stream: (step, site))
    }
}

/// Inverted dropout (Srivastava et al. 2014).
public enum Dropout {
    /// y = mask∘x / (1 - rate), in the forward pass and for its gradient alike; y may be x.
    ///
    /// Element (row, column) has the global number firstElement + row·rowLength + column, and whether it is dropped,
    /// with probability `rate` in [0, 1), is a pure function of the key and that number: however a batch is split
    /// over ranks and calls, its mask is the same. `rowLength` is that of the whole tensor whose columns x begins;
    /// nil is x's own.
    public static func apply(
        _ x: Matrix, rate: Float, key: DropoutKey, firstElement: UInt64, rowLength: Int? = nil,
        into y: Matrix,
        on team: ThreadTeam = .alone
    ) {
        precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
        precondition(rate >= 0 && rate < 1, "a dropout rate of \(rate) is not in [0, 1)")
        let rowLength = UInt64(rowLength ?? x.columns)
        team.split(x.rows, (x, y, rate, key, firstElement, rowLength)) { operands, rows, _ in
            let (x, y, rate, key, firstElement, rowLength) = operands
            apply(
                rows: x.rows(rows), rate, key, firstElement &+ UInt64(rows.lowerBound) &* rowLength,
                rowLength,
                into: y.rows(rows))
        }
    }

    private static func apply(
        rows x: Matrix, _ rate: Float, _ key: DropoutKey, _ firstElement: UInt64, _ rowLength: UInt64,
        into y: Matrix
    ) {
        let threshold = UInt32(Double(rate) * 0x1p32)
        let scale = 1 / (1 - rate)
        let generator = key.generator
        for row in 0..<x.rows {
            let source = x.base + row &* x.stride
            let target = y.base + row &* y.stride
            let start = firstElement &+ UInt64(row) &* rowLength
            var offset = 0
            if start % 32 == 0 {
                // Both words of a block serve 32 elements in a row.
                while offset &+ 32 <= x.columns {
                    let (first, second) = generator.words(element: start &+ UInt64(offset))
                    let low = keep(load(source + offset, 16), first, threshold, scale)
                    let high = keep(load(source + (offset &+ 16), 16), second, threshold, scale)
                    store(low, target + offset, 16)
                    store(high, target + (offset &+ 16), 16)
                    offset &+= 32
                }
            }
            while offset < x.columns {
                let lanes = min(16, x.columns &- offset)
                let word = generator.word(element: start &+ UInt64(offset))
                store(keep(load(source + offset, lanes), word, threshold, scale), target + offset, lanes)
                offset &+= lanes
            }
        }
    }

    @inline(always)
    private static func keep(_ x: Lanes, _ word: SIMD16<UInt32>, _ threshold: UInt32, _ scale: Float) -> Lanes
    {
        let dropped: SIMDMask<SIMD16<Int32>> = word .< SIMD16(repeating: threshold)
        return (x * scale).replacing(with: Lanes.zero, where: dropped)
    }
}

extension Threefry {
    /// The words of elements `element` ..< `element + 16` and of the 16 after them; `element` a multiple of 32.
    ///
    /// Of 32 elements in a row, number 16w + l has word w of the block whose counter is 16·(element / 32) + l.
    @inline(always)
    fileprivate func words(element: UInt64) -> (SIMD16<UInt32>, SIMD16<UInt32>) {
        let counter = element >> 1
        return blocks(
            UInt32(truncatingIfNeeded: counter) | laneIndices,
            SIMD16(repeating: UInt32(truncatingIfNeeded: counter >> 32)))
    }

    /// The words of elements `element` ..< `element + 16`, wherever they start.
    @inline(always)
    fileprivate func word(element: UInt64) -> SIMD16<UInt32> {
        let start = UInt32(truncatingIfNeeded: element)
        let low = start &+ laneIndices
        let wrapped: SIMDMask<SIMD16<Int32>> = low .< SIMD16(repeating: start)
        let startHigh = SIMD16(repeating: UInt32(truncatingIfNeeded: element >> 32))
        let high = startHigh.replacing(with: startHigh &+ 1, where: wrapped)
        let (first, second) = blocks(
            (((low &>> 1) | (high &<< 31)) & ~15) | (low & 15), high &>> 1)
        let isSecond: SIMDMask<SIMD16<Int32>> = (low & 16) .== SIMD16(repeating: 16)
        return first.replacing(with: second, where: isSecond)
    }
}
