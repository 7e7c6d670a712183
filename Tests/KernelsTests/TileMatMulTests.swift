import Kernels
import Testing

@Suite struct TileMatMulTests {
    /// In parts of every dimension: 128 or 4,096 rows, 4,096 columns, 1,024 depths.
    static let shapes = [
        (1, 1, 1), (31, 200, 77), (32, 32, 32), (65, 33, 47), (257, 1031, 511), (70, 4100, 33),
        (290, 40, 65), (4130, 800, 1030),
        (33, 35, 2100),
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
            #expect(bytes(1 << 20, 1 << 20, 1 << 20) == (precision == .high ? 32 : 16) << 20)
        }
    }
}
