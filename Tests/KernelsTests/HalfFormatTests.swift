import Kernels
import Testing

/// Numbers of 16 bits beside what the formats are defined as.
@Suite struct HalfFormatTests {
    /// Every one of the 65,536, to the bit; NaN stays NaN.
    @Test(arguments: HalfFormat.allCases)
    func widensExactly(format: HalfFormat) throws {
        let halves = try AlignedBuffer<UInt16>(count: 1 << 16)
        let wide = try AlignedBuffer<Float>(count: 1 << 16)
        for bits in 0..<1 << 16 { halves.base[bits] = UInt16(bits) }
        format.widen(
            halves.vector.matrix(rows: 1, columns: 1 << 16),
            into: wide.vector.matrix(rows: 1, columns: 1 << 16))
        for bits in 0..<1 << 16 {
            let (found, expected) = (wide.base[bits], format.value(UInt16(bits)))
            #expect(
                found.isNaN ? expected.isNaN : found.bitPattern == Float(expected).bitPattern,
                "\(format) \(bits): \(found), \(expected)")
        }
    }

    /// Random bits, all exponents, numbers halfway between two neighbours and beside them, denormals, infinities and NaN,
    /// rounded to the nearest; and the source becomes what was kept.
    @Test(arguments: HalfFormat.allCases)
    func roundsToTheNearest(format: HalfFormat) throws {
        var random = SystemRandomNumberGenerator()
        var values: [Float] = [
            0, -0, .infinity, -.infinity, .nan, .signalingNaN, 65504, 65519.99, 65520, 65536,
        ]
        values += [.leastNonzeroMagnitude, .leastNormalMagnitude, .greatestFiniteMagnitude, 0x1p-24, 0x1p-25]
        values += [0x1.8p-25, 0x1p-26, 0x1.ffcp-15, 0x1.ffep-15, 0x1.fffp-15, 3.39e38, -3.3961775e38]
        for _ in 0..<100_000 { values.append(Float(bitPattern: .random(in: 0...(.max), using: &random))) }
        for bits in stride(from: UInt16(0), to: 0x7F80, by: 7) {
            let (low, high) = (format.value(bits), format.value(bits + 1))
            guard low.isFinite, high.isFinite else { continue }
            let middle = Float((low + high) / 2)
            values += [middle, middle.nextUp, middle.nextDown, -middle, -middle.nextUp, -middle.nextDown]
        }
        let count = values.count
        let x = try AlignedBuffer<Float>(count: count)
        let y = try AlignedBuffer<UInt16>(count: count)
        for (index, value) in values.enumerated() { x.base[index] = value }
        format.round(
            x.vector.matrix(rows: 1, columns: count), into: y.vector.matrix(rows: 1, columns: count))
        for (index, value) in values.enumerated() {
            let (found, kept) = (y.base[index], x.base[index])
            guard !value.isNaN else {
                #expect(format.value(found).isNaN && kept.isNaN)
                continue
            }
            #expect(found == format.nearest(value), "\(format) \(value): \(found)")
            #expect(kept.bitPattern == Float(format.value(found)).bitPattern, "\(format) \(value)")
        }
    }

    /// Rows that are parts of longer ones, of every remainder of lanes, by several threads.
    @Test(arguments: HalfFormat.allCases, [1, 3])
    func partsOfRows(format: HalfFormat, threads: Int) throws {
        let team = try ThreadTeam(threads: threads)
        for columns in [1, 2, 15, 16, 17, 31, 33, 64] {
            let (rows, stride) = (7, columns + 5)
            let x = try AlignedBuffer<Float>(count: rows * stride)
            let y = try AlignedBuffer<UInt16>(count: rows * stride)
            let back = try AlignedBuffer<Float>(count: rows * stride)
            for index in 0..<rows * stride {
                x.base[index] = Float(index) * 1.013 - 90
                (y.base[index], back.base[index]) = (12_345, -1)
            }
            let halves = MatrixView(base: y.base, rows: rows, columns: columns, stride: stride)
            format.round(
                Matrix(base: x.base, rows: rows, columns: columns, stride: stride), into: halves, on: team)
            format.widen(
                halves, into: Matrix(base: back.base, rows: rows, columns: columns, stride: stride), on: team)
            for index in 0..<rows * stride {
                let value = Float(index) * 1.013 - 90
                let isPart = index % stride < columns
                #expect(y.base[index] == (isPart ? format.nearest(value) : 12_345))
                #expect(back.base[index] == (isPart ? x.base[index] : -1))
                #expect(isPart || x.base[index] == value)
            }
        }
    }
}

extension HalfFormat {
    /// Bits of the fraction, and what the exponent is biased by.
    private var layout: (fraction: Int, bias: Int) { self == .bf16 ? (7, 127) : (10, 15) }

    /// The number that `bits` stand for, by the definition of IEEE 754.
    fileprivate func value(_ bits: UInt16) -> Double {
        let (width, bias) = layout
        let sign = bits >> 15 == 0 ? 1.0 : -1.0
        let exponent = Int(bits & 0x7FFF) >> width
        let fraction = Double(Int(bits) & (1 << width - 1)) / Double(1 << width)
        if exponent == 0x7FFF >> width { return fraction == 0 ? sign * .infinity : .nan }
        return exponent == 0
            ? sign * scale(fraction, 1 - bias) : sign * scale(1 + fraction, exponent - bias)
    }

    private func scale(_ value: Double, _ exponent: Int) -> Double {
        Double(sign: .plus, exponent: exponent, significand: value)
    }

    /// The nearest number's bits, found by bisection; of two as near the even one. What lies beyond the largest number by
    /// half a unit is infinite.
    fileprivate func nearest(_ value: Float) -> UInt16 {
        let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
        let magnitude = Double(value.magnitude)
        let infinity = UInt16((0x7FFF >> layout.fraction) << layout.fraction)
        var (low, high) = (UInt16(0), infinity)
        while high - low > 1 {
            let middle = (low + high) / 2
            if self.value(middle) <= magnitude { low = middle } else { high = middle }
        }
        guard magnitude.isFinite else { return sign | infinity }
        // In place of infinity the number that would come next.
        let above =
            high == infinity
            ? self.value(low) + (self.value(low) - self.value(low - 1)) : self.value(high)
        let (down, up) = (magnitude - self.value(low), above - magnitude)
        if down == up { return sign | (low % 2 == 0 ? low : high) }
        return sign | (down < up ? low : high)
    }
}
