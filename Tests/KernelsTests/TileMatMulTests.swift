import Kernels
import Testing

@Suite struct TileMatMulTests {
    /// In parts of every dimension: 4,096 of the fewer rows or columns, 256 of the others, 1,024 depths or 512.
    static let shapes = [
        (1, 1, 1), (31, 200, 77), (32, 32, 32), (65, 33, 47), (257, 1031, 511), (70, 4100, 33),
        (290, 40, 65), (800, 1100, 1030), (1100, 800, 1030), (4100, 4130, 33), (33, 35, 2100),
    ]

    @Test(arguments: tileInstructions, TilePrecision.allCases)
    func `products of all transpositions and factors`(
        instructions: TileInstructions, precision: TilePrecision
    ) {
        for (m, n, k) in Self.shapes {
            let matMul = tileMatMul(precision, instructions, m: m, n: n, k: k)
            let beta: [Float] = m * n * k > 10_000_000 ? [0, 1] : [0, 1, -0.5]
            for (index, (transposeA, transposeB)) in TileProductsTests.transpositions.enumerated() {
                let a = transposeA ? makeMatrix(k, m, gap: 3) : makeMatrix(m, k, gap: 3)
                let b = transposeB ? makeMatrix(n, k, gap: 1, seed: 2) : makeMatrix(k, n, gap: 1, seed: 2)
                let expected = ExpectedProduct(a, transposed: transposeA, b, transposed: transposeB)
                let (alpha, beta) = ([1, 0.25][index % 2] as Float, beta[index % beta.count])
                let c = makeMatrix(m, n, gap: 2, seed: 5)
                let before = ReferenceMatrix(c)
                if beta == 0 { c.base[n - 1] = .nan }
                matMul.multiply(
                    a, transposed: transposeA, b, transposed: transposeB, alpha: alpha, beta: beta, into: c)
                let error = expected.scaled(Double(alpha)) { Double(beta) * before[$0, $1] }.error(c)
                #expect(error <= precision.bound, "\(m) × \(k) × \(n), beta \(beta): \(error)")
            }
        }
    }

    /// The three products of a layer on what is kept in bf16, with packed and other weights, alone and on threads: what they give of
    /// the same numbers in fp32, rounded.
    @Test(arguments: tileInstructions, [1, 3])
    func `operands and results that are kept in bf16`(instructions: TileInstructions, threads: Int) throws {
        let team = try ThreadTeam(threads: threads)
        for (rows, outputs, inputs) in [
            (64, 544, 64), (544, 96, 64), (544, 416, 64), (300, 70, 1024), (200, 1024, 45),
        ] {
            let most = max(rows, outputs, inputs)
            let matmul = MatMul(
                backend: tileMatMul(.medium, instructions, m: most, n: most, k: most, threads: threads),
                team: team)
            // Tests let it go with the process.
            func kept(_ rows: Int, _ columns: Int, seed: UInt64) -> (half: StoredMatrix, full: Matrix) {
                let full = makeMatrix(rows, columns, gap: 2, seed: seed)
                let half = MatrixView<UInt16>(
                    base: .allocate(capacity: rows * columns), rows: rows, columns: columns)
                HalfFormat.bf16.round(full, into: half)
                return (.half(half, .bf16), full)
            }
            let (x, dx) = (kept(rows, inputs, seed: 1), kept(rows, inputs, seed: 2))
            let (dy, y) = (kept(rows, outputs, seed: 3), kept(rows, outputs, seed: 4))
            let matrix = makeMatrix(outputs, inputs, seed: 5)
            let bias = makeMatrix(1, outputs, seed: 6).vector
            #expect(matmul.takes(.bf16, rows, outputs, inputs) && matmul.gives(.bf16, depth: 1024))
            #expect(!matmul.gives(.bf16, depth: 1025) && !matmul.gives(.fp16, depth: 32))
            let packed = PackedWeight(
                n: outputs, k: inputs, precision: .medium,
                in: packedStorage(PackedWeight.byteCount(n: outputs, k: inputs, precision: .medium)))
            for weight in [Weight(matrix), Weight(matrix, packed: packed)] {
                matmul.pack(weight)
                matmul.forward(x.half, weight: weight, bias: bias, scale: 2, into: y.half)
                matmul.forward(x.full, weight: weight, bias: bias, scale: 2, into: y.full)
                #expect(isRounded(y), "forward")
                matmul.inputGradient(dy.half, weight: weight, into: dx.half)
                matmul.inputGradient(dy.full, weight: weight, into: dx.full)
                #expect(isRounded(dx), "input gradient")
            }
            // As attention has keys and values: kept in bf16, packed once, and multiplied by their first rows.
            let keys = kept(outputs, inputs, seed: 7)
            let whole = Weight(keys.half, packed: packed)
            matmul.packForward(whole)
            matmul.packInputGradient(whole)
            for count in [32, 64, outputs] {
                let (some, expected) = (whole.firstRows(count), Weight(keys.full.rows(0..<count)))
                let columns = 0..<count
                matmul.forward(x.half, weight: some, scale: 0.5, into: y.half.columns(columns))
                matmul.forward(x.full, weight: expected, scale: 0.5, into: y.full.columns(columns))
                #expect(isRounded(y), "first \(count) rows")
                matmul.inputGradient(dy.half.columns(columns), weight: some, into: dx.half)
                matmul.inputGradient(dy.full.columns(columns), weight: expected, into: dx.full)
                #expect(isRounded(dx), "first \(count) rows")
            }
            let (dw, expected) = (makeMatrix(outputs, inputs), makeMatrix(outputs, inputs))
            matmul.weightGradient(dy.half, x.half, into: dw)
            matmul.weightGradient(dy.full, x.full, into: expected)
            #expect(ReferenceMatrix(dw) == ReferenceMatrix(expected), "weight gradient")
        }
    }

    /// Of a matrix that is kept in bf16 and has no gaps.
    private func isRounded(_ kept: (half: StoredMatrix, full: Matrix)) -> Bool {
        let expected = makeMatrix(kept.full.rows, kept.full.columns)
        let actual = makeMatrix(kept.full.rows, kept.full.columns)
        guard case .half(let bits, let format) = kept.half else { return false }
        format.widen(bits, into: actual)
        let rounded = MatrixView<UInt16>(
            base: .allocate(capacity: expected.rows * expected.columns), rows: expected.rows,
            columns: expected.columns)
        defer { rounded.base.deallocate() }
        format.narrow(kept.full, into: rounded)
        format.widen(rounded, into: expected)
        return ReferenceMatrix(actual) == ReferenceMatrix(expected)
    }

    @Test func `an empty product clears its result`() {
        let c = makeMatrix(40, 50)
        tileMatMul(.medium, .emulated, m: 40, n: 50, k: 0).multiply(
            makeMatrix(40, 0), transposed: false, makeMatrix(0, 50), transposed: false, alpha: 1, beta: 0,
            into: c)
        #expect(ReferenceMatrix(c).values.allSatisfy { $0 == 0 })
    }

    @Test func `small products go to the other backend`() {
        final class Counter: MatMulBackend {
            var name: String { "counter" }
            var calls = 0
            func multiply(
                _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
                alpha: Float, beta: Float, into c: Matrix
            ) { calls += 1 }
        }
        let counter = Counter()
        let bytes = TileMatMul.workspaceByteCount(m: 256, n: 256, k: 256, precision: .medium)
        let matMul = TileMatMul(
            precision: .medium, instructions: .emulated, workspace: packedStorage(bytes), small: counter)
        for (m, n, k) in [(1, 256, 256), (256, 256, 256), (256, 8, 256)] {
            matMul.multiply(
                makeMatrix(m, k), transposed: false, makeMatrix(k, n), transposed: false, alpha: 1, beta: 0,
                into: makeMatrix(m, n))
        }
        #expect(counter.calls == 2)
        #expect(!TileMatMul.isSmall(m: 256, n: 256, k: 256))
    }

    @Test func `the workspace grows with the product, up to a limit`() {
        let extents = [1, 31, 32, 33, 1000, 1024, 1056, 4096, 5000, 50_257]
        for precision in TilePrecision.allCases {
            func bytes(_ m: Int, _ n: Int, _ k: Int) -> Int {
                TileMatMul.workspaceByteCount(m: m, n: n, k: k, precision: precision)
            }
            for m in extents {
                for (smaller, larger) in zip(extents, extents.dropFirst()) {
                    #expect(bytes(m, smaller, 768) <= bytes(m, larger, 768))
                    #expect(bytes(smaller, m, 768) <= bytes(larger, m, 768))
                    #expect(bytes(m, 768, smaller) <= bytes(m, 768, larger))
                }
            }
            #expect(bytes(1 << 20, 1 << 20, 1 << 20) == 17 << 19)
        }
    }
}
