import Kernels
import Testing

@Suite struct ReductionsTests {
    @Test(arguments: [0, 1, 15, 16, 31, 32, 33, 129, 1000])
    func `sum of squares`(count: Int) {
        let x = makeVector(count, scale: 1e25)
        let expected = doubles(x).reduce(0) { $0 + $1 * $1 }
        let sum = Reductions.sumOfSquares(x)
        #expect((sum - expected).magnitude <= 1e-14 * expected)
        #expect(sum == Reductions.sumOfSquares(x))
    }

    @Test(arguments: [3, 40, 128])
    func `sum of squares shows what is not finite`(index: Int) {
        let x = makeVector(129)
        x[index] = .infinity
        #expect(Reductions.sumOfSquares(x) == .infinity)
        x[index] = .nan
        #expect(Reductions.sumOfSquares(x).isNaN)
    }

    @Test(arguments: [1, 16, 33])
    func `scale and fill`(count: Int) {
        let x = makeVector(count)
        let before = doubles(x)
        Reductions.scale(x, by: 0.5)
        #expect(doubles(x) == before.map { $0 / 2 })
        Reductions.fill(x, with: 3)
        #expect(doubles(x).allSatisfy { $0 == 3 })
    }

    @Test(arguments: oddShapes, [0, 5])
    func `residual sum`(shape: (Int, Int), gap: Int) {
        let x = makeMatrix(shape.0, shape.1, gap: gap, seed: 1)
        let y = makeMatrix(shape.0, shape.1, gap: gap, seed: 2)
        let z = makeMatrix(shape.0, shape.1, gap: gap, seed: 3)
        let expected = ReferenceMatrix(x) + ReferenceMatrix(y)
        Residual.add(x, y, into: z)
        #expect(relativeError(z, expected) < 1e-7)
        Residual.add(x, y, into: y)
        #expect(ReferenceMatrix(y) == ReferenceMatrix(z))
        #expect(gapsAreIntact(y))
    }
}
