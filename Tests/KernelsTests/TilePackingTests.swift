import Kernels
import Testing

@Suite struct TilePackingTests {
    /// bf16 numbers are fp32 numbers with 16 bits less: the nearer of the two neighbours, the even one of two as near.
    private func rounded(_ value: Float) -> UInt16 {
        let below = UInt16(value.bitPattern >> 16)
        if value.isNaN { return below | 0x40 }
        if value.isInfinite { return below }
        if value.magnitude < Float.leastNormalMagnitude { return below & 0x8000 }
        // Beyond the largest number lies what the next one would be.
        func number(_ bits: UInt16) -> Double {
            let float = Float(bitPattern: UInt32(bits) << 16)
            return float.isInfinite ? (float > 0 ? 0x1p128 : -0x1p128) : Double(float)
        }
        let downwards = (Double(value) - number(below)).magnitude
        let upwards = (Double(value) - number(below + 1)).magnitude
        if downwards == upwards { return below.isMultiple(of: 2) ? below : below + 1 }
        return downwards < upwards ? below : below + 1
    }

    private func remainder(_ value: Float) -> UInt16 {
        let high = Float(bitPattern: UInt32(rounded(value)) << 16)
        return high.isFinite ? rounded(value - high) : 0
    }

    /// Place of an element, in elements, as the format's description says.
    private func place(_ side: PackedOperand.Side, _ row: Int, _ depth: Int, steps: Int, tiles: Int) -> Int {
        let (panel, half, line) = (row / 32, row / 16 % 2, row % 16)
        let (step, inner) = (depth / 32, depth % 32)
        let tile = (panel * steps + step) * tiles + half
        return tile * 512 + (side == .a ? line * 32 + inner : inner / 2 * 32 + line * 2 + inner % 2)
    }

    /// The same where panels hold fp32 numbers.
    private func fp32Place(_ row: Int, _ depth: Int, steps: Int) -> Int {
        1024 * (row / 32 * steps + depth / 32) + depth % 32 * 32 + row % 32
    }

    private func expect(
        _ side: PackedOperand.Side, _ source: Matrix, transposed: Bool, _ precision: TilePrecision,
        _ instructions: TileInstructions
    ) {
        let operand = packed(side, source, transposed: transposed, precision, instructions)
        let tiles = precision == .high ? 4 : 2
        let steps = (operand.depth + 31) / 32
        var expected = [UInt16](repeating: 0, count: (operand.rows + 31) / 32 * steps * tiles * 512)
        let depthInRow = (side == .a) != transposed
        for row in 0..<operand.rows {
            for depth in 0..<operand.depth {
                let value = source.base[
                    depthInRow ? row * source.stride + depth : depth * source.stride + row]
                if precision == .high && instructions == .avx512fma {
                    let index = 2 * fp32Place(row, depth, steps: steps)
                    expected[index] = UInt16(truncatingIfNeeded: value.bitPattern)
                    expected[index + 1] = UInt16(value.bitPattern >> 16)
                    continue
                }
                let index = place(side, row, depth, steps: steps, tiles: tiles)
                expected[index] = rounded(value)
                if precision == .high { expected[index + 2 * 512] = remainder(value) }
            }
        }
        let actual = UnsafeRawBufferPointer(start: operand.base, count: operand.byteCount)
            .bindMemory(to: UInt16.self)
        let what = "\(side) \(operand.rows) × \(operand.depth), transposed \(transposed), \(instructions)"
        let wrong = expected.indices.first { actual[$0] != expected[$0] }
        #expect(actual.count == expected.count && wrong == nil, "\(what): element \(wrong ?? -1)")
    }

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `every element has its place`(instructions: TileInstructions, precision: TilePrecision) {
        for extent in 1...65 {
            for other in [1, 15, 33, 64] {
                for (rows, columns) in [(extent, other), (other, extent)] {
                    let source = makeMatrix(rows, columns, gap: extent % 3, seed: UInt64(extent))
                    for side in [PackedOperand.Side.a, .b] {
                        expect(side, source, transposed: false, precision, instructions)
                        expect(side, source, transposed: true, precision, instructions)
                    }
                }
            }
        }
    }

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `every kind of number is rounded to the nearest`(
        instructions: TileInstructions, precision: TilePrecision
    ) {
        var values: [Float] = [
            0, -0.0, .infinity, -.infinity, .nan, -.nan, .signalingNaN, Float(nan: 1, signaling: false),
            .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNormalMagnitude,
            .leastNonzeroMagnitude,
            -.leastNonzeroMagnitude, Float.leastNormalMagnitude.nextDown, Float(bitPattern: 0x7F7F_8000),
            Float(bitPattern: 0x7F7F_7FFF), Float(bitPattern: 0x7F80_0001),
        ]
        // Around every halfway point of some exponents, between an even and an odd number and the other way round.
        for exponent: UInt32 in [1, 8, 9, 17, 100, 127, 200, 254] {
            for mantissa: UInt32 in [0x00_8000, 0x01_8000, 0x40_8000, 0x7E_8000, 0x7F_8000] {
                for bits in (exponent << 23 | mantissa) - 1...(exponent << 23 | mantissa) + 1 {
                    values += [Float(bitPattern: bits), -Float(bitPattern: bits)]
                }
            }
        }
        var numbers = Numbers(7)
        while values.count < 64 * 64 {
            values.append(Float(bitPattern: numbers.next().bitPattern &* 0x9E37_79B1))
        }
        let source = makeMatrix(64, 64)
        source.base.update(from: values, count: values.count)
        for side in [PackedOperand.Side.a, .b] {
            expect(side, source, transposed: false, precision, instructions)
            expect(side, source, transposed: true, precision, instructions)
        }
    }

    /// Packing bf16 numbers gives what packing the same numbers in fp32 does, subnormal ones and infinities among them.
    @Test(arguments: tileInstructions)
    func `bf16 numbers are packed as they are`(instructions: TileInstructions) throws {
        for (rows, columns) in [(1, 1), (3, 70), (16, 32), (33, 15), (64, 96), (65, 47)] {
            let source = makeMatrix(rows, columns, gap: 3, seed: 5)
            source.base[0] = 0x1p-130
            source.base[columns - 1] = -.infinity
            let bits = try AlignedBuffer<UInt16>(count: rows * source.stride)
            let halves = MatrixView(base: bits.base, rows: rows, columns: columns, stride: source.stride)
            HalfFormat.bf16.round(source, into: halves)
            for side in [PackedOperand.Side.a, .b] {
                for transposed in [false, true] {
                    let expected = packed(side, source, transposed: transposed, .medium, instructions)
                    let storage = packedStorage(expected.byteCount)
                    let operand = PackedOperand(
                        side, rows: expected.rows, depth: expected.depth, precision: .medium, in: storage)
                    operand.pack(.half(halves, .bf16), transposed: transposed, with: instructions)
                    let areEqual =
                        UnsafeRawBufferPointer(start: operand.base, count: operand.byteCount)
                        .elementsEqual(
                            UnsafeRawBufferPointer(start: expected.base, count: expected.byteCount))
                    #expect(areEqual, "\(side) \(rows) × \(columns), transposed \(transposed)")
                }
            }
        }
    }
}
