import Kernels
import Testing

@Suite struct TileProductsTests {
    static let transpositions = [(false, false), (false, true), (true, false), (true, true)]

    /// Every extent up to 65 in each dimension, the others on and beside the edges of tiles and panels.
    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `all remainders of shapes`(instructions: TileInstructions, precision: TilePrecision) {
        let edges = [1, 17, 33, 64]
        let products = TileProducts(instructions: instructions)
        for (transposeA, transposeB) in Self.transpositions {
            for k in 1...65 {
                let a = transposeA ? makeMatrix(k, 65, gap: 3) : makeMatrix(65, k, gap: 3)
                let b = transposeB ? makeMatrix(65, k, seed: 2) : makeMatrix(k, 65, seed: 2)
                let expected = ExpectedProduct(a, transposed: transposeA, b, transposed: transposeB)
                let all = Array(1...65)
                for m in edges.contains(k) ? all : edges {
                    for n in edges.contains(k) && edges.contains(m) ? all : edges {
                        let partOfA = transposeA ? a.columns(0..<m) : a.rows(0..<m)
                        let partOfB = transposeB ? b.rows(0..<n) : b.columns(0..<n)
                        let c = makeMatrix(m, n, gap: 2)
                        c.base[(m - 1) * c.stride + n - 1] = .nan
                        products.multiply(
                            packed(.a, partOfA, transposed: transposeA, precision, instructions),
                            packed(.b, partOfB, transposed: transposeB, precision, instructions), into: c)
                        let error = expected.error(c)
                        #expect(error <= precision.bound, "\(m) × \(k) × \(n): \(error)")
                    }
                }
            }
        }
    }

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `alpha, accumulation and bias`(instructions: TileInstructions, precision: TilePrecision) {
        let products = TileProducts(instructions: instructions)
        // The second is cut in depth, the third in columns as well.
        for (m, k, n) in [(33, 47, 50), (5, 1100, 31), (37, 600, 1031)] {
            let (a, b, bias) = (makeMatrix(m, k, gap: 1), makeMatrix(k, n, seed: 2), makeVector(n, seed: 3))
            let expected = ExpectedProduct(a, b)
            let packedA = packed(.a, a, transposed: false, precision, instructions)
            let packedB = packed(.b, b, transposed: false, precision, instructions)
            for alpha: Float in [1, -0.375, 1e-9] {
                for accumulate in [false, true] {
                    for bias in [nil, bias] {
                        let c = makeMatrix(m, n, gap: 5, seed: 4)
                        let before = ReferenceMatrix(c)
                        if !accumulate { c.base[0] = .nan }
                        products.multiply(
                            packedA, packedB, alpha: alpha, accumulate: accumulate, bias: bias, into: c)
                        let error = expected.scaled(Double(alpha)) { i, j in
                            (accumulate ? before[i, j] : 0) + (bias.map { Double($0[j]) } ?? 0)
                        }.error(c)
                        #expect(error <= precision.bound, "\(m) × \(k) × \(n), alpha \(alpha): \(error)")
                    }
                }
            }
        }
    }

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `accuracy on random and on badly scaled operands`(
        instructions: TileInstructions, precision: TilePrecision
    ) {
        let (m, k, n) = (96, 640, 80)
        for scaling in Scaling.allCases {
            let (a, b) = (makeMatrix(m, k), makeMatrix(n, k, seed: 2))
            scaling.apply(to: a, seed: 3)
            scaling.apply(to: b, seed: 4)
            let c = makeMatrix(m, n)
            TileProducts(instructions: instructions).multiply(
                packed(.a, a, transposed: false, precision, instructions),
                packed(.b, b, transposed: true, precision, instructions), into: c)
            let expected = ExpectedProduct(a, transposed: false, b, transposed: true)
            // Sums of many terms of one size stay far below the bound of a single term.
            let usual = precision == .medium ? 4e-3 : 1e-5
            #expect(expected.error(c) <= (scaling == .everyElement ? precision.bound : usual))
            #expect(expected.frobeniusError(c) <= (precision == .medium ? 5e-3 : 1e-5))
            if isInFP32(precision, instructions) { #expect(expected.error(c) < 1e-6) }
            // A more precise product than was asked for is a mistake, too.
            if precision == .medium { #expect(expected.frobeniusError(c) > 1e-3) }
        }
    }

    private enum Scaling: CaseIterable {
        case none, small, large, everyRow, everyElement

        func apply(to matrix: Matrix, seed: UInt64) {
            var numbers = Numbers(seed)
            for row in 0..<matrix.rows {
                let ofRow = Self.power(&numbers, most: 50)
                for column in 0..<matrix.columns {
                    let factor: Float =
                        switch self {
                        case .none: 1
                        case .small: 0x1p-50
                        case .large: 0x1p50
                        case .everyRow: ofRow
                        case .everyElement: Self.power(&numbers, most: 20)
                        }
                    matrix.base[row * matrix.stride + column] *= factor
                }
            }
        }

        /// 2^-most … 2^most.
        private static func power(_ numbers: inout Numbers, most: Float) -> Float {
            Float(sign: .plus, exponent: Int(numbers.next() * most), significand: 1)
        }
    }

    /// Whether numbers are multiplied as they are.
    private func isInFP32(_ precision: TilePrecision, _ instructions: TileInstructions) -> Bool {
        precision == .high && instructions == .avx512fma
    }

    /// Those that multiply bf16 numbers; others with fp32's own error.
    @Test(arguments: TilePrecision.allCases)
    func `instructions agree with their emulation`(precision: TilePrecision) {
        let (a, b) = (makeMatrix(257, 511), makeMatrix(511, 131, seed: 2))
        let expected = ExpectedProduct(a, b)
        let results = tileInstructions.map { instructions in
            let c = makeMatrix(a.rows, b.columns)
            TileProducts(instructions: instructions).multiply(
                packed(.a, a, transposed: false, precision, instructions),
                packed(.b, b, transposed: false, precision, instructions), into: c)
            return ReferenceMatrix(c)
        }
        for (instructions, other) in zip(tileInstructions, results) {
            let emulated = isInFP32(precision, instructions) ? expected.product : results[0]
            let error = zip(zip(emulated.values, other.values), expected.magnitude.values).map {
                ($0.0 - $0.1).magnitude / $1
            }.max()!
            // Sums of fp32 in another order.
            #expect(error < 1e-6)
        }
    }

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `what is not finite stays so, in its row and column only`(
        instructions: TileInstructions, precision: TilePrecision
    ) {
        let (m, k, n) = (40, 70, 45)
        let products = TileProducts(instructions: instructions)
        let b = makeMatrix(k, n, seed: 2)
        let packedB = packed(.b, b, transposed: false, precision, instructions)
        for value in [Float.nan, .infinity, -.infinity] {
            let a = makeMatrix(m, k)
            a.base[35 * k + 69] = value
            let c = makeMatrix(m, n)
            products.multiply(
                packed(.a, a, transposed: false, precision, instructions), packedB, into: c)
            for i in 0..<m {
                for j in 0..<n {
                    let element = c.base[i * n + j]
                    #expect(element.isFinite == (i != 35))
                    if i == 35 && value.isInfinite && precision == .medium {
                        #expect(element == value * b.base[69 * n + j])
                    }
                }
            }
        }
        let a = makeMatrix(m, k)
        b.base[3 * n + 44] = .nan
        let c = makeMatrix(m, n)
        products.multiply(
            packed(.a, a, transposed: false, precision, instructions),
            packed(.b, b, transposed: false, precision, instructions), into: c)
        for i in 0..<m { for j in 0..<n { #expect(c.base[i * n + j].isNaN == (j == 44)) } }
    }

    /// The same bits as of the same numbers packed; subnormal numbers and infinities are among them.
    @Test(arguments: tileInstructions)
    func `an A that is kept in bf16 is multiplied as it is`(instructions: TileInstructions) throws {
        let products = TileProducts(instructions: instructions)
        for (m, k, n) in [(32, 32, 32), (64, 96, 47), (160, 1056, 70)] {
            let source = makeMatrix(m, k, gap: 6, seed: 5)
            source.base[1] = 0x1p-130
            source.base[(m - 1) * source.stride + k - 1] = .infinity
            let bits = try AlignedBuffer<UInt16>(count: m * source.stride)
            let halves = MatrixView(base: bits.base, rows: m, columns: k, stride: source.stride)
            HalfFormat.bf16.round(source, into: halves)
            let b = packed(
                .b, makeMatrix(k, n, seed: 2), transposed: false, .medium, instructions)
            func operand(_ source: StoredMatrix, _ precision: TilePrecision = .medium) -> PackedOperand? {
                PackedOperand(inPlace: source, precision: precision, for: instructions)
            }
            let inPlace = try #require(operand(.half(halves, .bf16)))
            let (c, expected) = (makeMatrix(m, n, gap: 2), makeMatrix(m, n, gap: 2))
            products.multiply(inPlace, b, into: c)
            products.multiply(packed(.a, source, transposed: false, .medium, instructions), b, into: expected)
            let areEqual = (0..<m).allSatisfy { i in
                (0..<n).allSatisfy { j in
                    c.base[i * c.stride + j].bitPattern == expected.base[i * c.stride + j].bitPattern
                }
            }
            #expect(areEqual, "\(m) × \(k) × \(n)")
            // Tiles would read beyond these edges.
            #expect(operand(.half(halves.rows(1..<m), .bf16)) == nil)
            #expect(operand(.half(halves.columns(1..<k), .bf16)) == nil)
            #expect(operand(.half(halves, .fp16)) == nil)
            #expect(operand(.half(halves, .bf16), .high) == nil)
            #expect(operand(.full(source)) == nil)
        }
    }

    /// Where these are multiplied.
    @Test(arguments: tileInstructions)
    func `an A in fp32 is multiplied as it is`(instructions: TileInstructions) throws {
        for (m, k, n) in [(32, 32, 32), (64, 96, 47), (160, 1056, 70)] {
            let a = makeMatrix(m, k, gap: 6, seed: 5)
            let inPlace = PackedOperand(inPlace: .full(a), precision: .high, for: instructions)
            guard instructions == .avx512fma else {
                #expect(inPlace == nil)
                continue
            }
            let b = packed(.b, makeMatrix(k, n, seed: 2), transposed: false, .high, instructions)
            let (c, expected) = (makeMatrix(m, n, gap: 2), makeMatrix(m, n, gap: 2))
            let products = TileProducts(instructions: instructions)
            products.multiply(try #require(inPlace), b, into: c)
            products.multiply(packed(.a, a, transposed: false, .high, instructions), b, into: expected)
            #expect(ReferenceMatrix(c) == ReferenceMatrix(expected), "\(m) × \(k) × \(n)")
            // Panels would go beyond these edges.
            for part in [a.rows(1..<m), a.columns(1..<k)] {
                #expect(PackedOperand(inPlace: .full(part), precision: .high, for: instructions) == nil)
            }
        }
    }

    /// What fp32 would hold, rounded, to the bit; deeper than one part, where that would be summed in another order, close to it.
    @Test(arguments: tileInstructions)
    func `a C that is kept in bf16 is rounded once`(instructions: TileInstructions) throws {
        let products = TileProducts(instructions: instructions)
        for (m, k, n) in [(32, 32, 32), (7, 96, 47), (65, 500, 70), (33, 1021, 45), (40, 0, 9)] {
            let a = makeMatrix(m, k, seed: 5)
            if m * k > 0 { a.base[0] = .infinity }
            let packedA = packed(.a, a, transposed: false, .medium, instructions)
            let b = packed(.b, makeMatrix(k, n, seed: 2), transposed: false, .medium, instructions)
            let bias = makeMatrix(1, n, seed: 3).vector
            let full = makeMatrix(m, n)
            products.multiply(packedA, b, alpha: 0.5, bias: bias, into: full)
            let stride = n + 3
            let bits = try AlignedBuffer<UInt16>(count: m * stride)
            let expected = try AlignedBuffer<UInt16>(count: m * n)
            for index in 0..<m * stride { bits.base[index] = 0x7FFF }
            products.multiply(
                packedA, b, alpha: 0.5, bias: bias,
                into: .half(MatrixView(base: bits.base, rows: m, columns: n, stride: stride), .bf16))
            HalfFormat.bf16.narrow(full, into: MatrixView(base: expected.base, rows: m, columns: n))
            for i in 0..<m {
                for j in 0..<n {
                    let (bits, expected) = (bits.base[i * stride + j], expected.base[i * n + j])
                    let distance = Int(bits) - Int(expected)
                    #expect(k > 512 ? abs(distance) <= 1 : distance == 0, "\(m) × \(k) × \(n): \(i), \(j)")
                }
                for gap in n..<stride { #expect(bits.base[i * stride + gap] == 0x7FFF) }
            }
        }
    }

    /// As operands and as sums; also where they are multiplied in fp32, which knows them.
    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `subnormal numbers count as zero`(instructions: TileInstructions, precision: TilePrecision) {
        let (a, b) = (makeMatrix(32, 32), makeMatrix(32, 32, seed: 2))
        for (x, y) in [(0x1p-70, 0x1p-70), (0x1p-130, 1), (1, 0x1p-130)] as [(Float, Float)] {
            a.base.update(repeating: x, count: 32 * 32)
            b.base.update(repeating: y, count: 32 * 32)
            let c = makeMatrix(32, 32)
            TileProducts(instructions: instructions).multiply(
                packed(.a, a, transposed: false, precision, instructions),
                packed(.b, b, transposed: false, precision, instructions), alpha: 0x1p100, into: c)
            #expect(ReferenceMatrix(c).values.allSatisfy { $0 == 0 }, "\(x) · \(y)")
        }
    }

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `empty products`(instructions: TileInstructions, precision: TilePrecision) {
        for (m, k, n) in [(0, 5, 7), (5, 0, 7), (5, 7, 0), (0, 0, 0)] {
            let c = makeMatrix(m, n)
            let bias = makeVector(n)
            TileProducts(instructions: instructions).multiply(
                packed(.a, makeMatrix(m, k), transposed: false, precision, instructions),
                packed(.b, makeMatrix(k, n), transposed: false, precision, instructions), bias: bias, into: c)
            #expect(
                (0..<m).allSatisfy { i in (0..<n).allSatisfy { c.base[i * n + $0] == (k == 0 ? bias[$0] : 0) }
                })
        }
    }
}
