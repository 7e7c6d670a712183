import Kernels
import Testing

@Suite struct MatMulTests {
    /// The last two have more rows of C than the library is given at a time.
    static let shapes = [
        (1, 1, 1), (3, 17, 5), (5, 63, 7), (7, 129, 33), (64, 48, 80), (5, 7, 16_421), (16_421, 5, 7),
    ]

    @Test(arguments: shapes, [0, 5])
    func `three products of a linear layer`(shape: (Int, Int, Int), gap: Int) {
        let (m, k, n) = shape
        let matMul = MatMul(backend: OpenBLAS())
        let x = makeMatrix(m, k, gap: gap, seed: 1)
        let weight = makeMatrix(n, k, gap: gap, seed: 2)
        let dy = makeMatrix(m, n, gap: gap, seed: 3)
        let bias = makeVector(n, seed: 4)
        let (rx, rw, rdy) = (ReferenceMatrix(x), ReferenceMatrix(weight), ReferenceMatrix(dy))

        let y = makeMatrix(m, n, gap: gap)
        for row in 0..<m { (y.base + row * y.stride).update(repeating: .nan, count: n) }
        var expected = Reference.product(rx, rw, transposeB: true)
        matMul.forward(x, weight: weight, into: y)
        #expect(relativeError(y, expected) < 1e-6)

        matMul.forward(x, weight: weight, bias: bias, scale: 0.25, into: y)
        for row in 0..<m {
            for column in 0..<n {
                expected[row, column] = 0.25 * expected[row, column] + Double(bias[column])
            }
        }
        #expect(relativeError(y, expected) < 1e-6)

        let dx = makeMatrix(m, k, gap: gap, seed: 5)
        let before = ReferenceMatrix(dx)
        let inputGradient = Reference.product(rdy, rw)
        matMul.inputGradient(dy, weight: weight, accumulate: true, into: dx)
        #expect(relativeError(dx, before + inputGradient) < 1e-6)
        matMul.inputGradient(dy, weight: weight, into: dx)
        #expect(relativeError(dx, inputGradient) < 1e-6)

        let dw = makeMatrix(n, k, gap: gap, seed: 6)
        let beforeWeight = ReferenceMatrix(dw)
        let weightGradient = Reference.product(rdy, rx, transposeA: true)
        // OpenBLAS's small products on AVX-512 add up all rows one by one. Where the terms and their roundings go at random (Higham
        // and Mary 2019), the sum of i rows is √i terms large and its rounding at most 2^-24 of it, 1/√3 of that on average.
        let tolerance = max(1e-6, 0x1p-24 * (Double(m) / 6).squareRoot())
        matMul.weightGradient(dy, x, into: dw)
        #expect(relativeError(dw, beforeWeight + weightGradient) < tolerance)
        matMul.weightGradient(dy, x, accumulate: false, into: dw)
        #expect(relativeError(dw, weightGradient) < tolerance)

        #expect(matMul.flops == 6 * 2 * m * n * k)
    }

    @Test func `an empty product counts nothing and clears its result`() {
        let matMul = MatMul(backend: OpenBLAS())
        let y = makeMatrix(2, 3)
        matMul.forward(makeMatrix(2, 0), weight: makeMatrix(3, 0), into: y)
        #expect(ReferenceMatrix(y).values.allSatisfy { $0 == 0 })
        #expect(matMul.flops == 0)
    }

    @Test func `the library names itself`() {
        #expect(!OpenBLAS.coreName.isEmpty)
        #expect(OpenBLAS.configuration.contains("OpenBLAS"))
    }

    @Test(arguments: oddShapes, [0, 5])
    func `bias gradient`(shape: (Int, Int), gap: Int) {
        let dy = makeMatrix(shape.0, shape.1, gap: gap)
        let db = makeVector(shape.1, seed: 2)
        let expected = zip(doubles(db), Reference.columnSums(ReferenceMatrix(dy))).map { $0 + $1 }
        BiasGradient.accumulate(dy, into: db)
        #expect(relativeError(db, expected) < 1e-6)
    }
}
