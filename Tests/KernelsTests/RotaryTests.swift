import Kernels
import Testing

@Suite struct RotaryTests {
    /// Two sequences of five tokens, with a position to spare.
    @Test(arguments: [(1, 2), (3, 6), (2, 34), (5, 64)], [0, 7])
    func `equals its oracle, and its inverse undoes it`(shape: (heads: Int, width: Int), gap: Int) {
        let x = makeMatrix(10, shape.heads * shape.width, gap: gap, seed: 1)
        let table = makeMatrix(6, shape.width, gap: 2)
        Rotary.fill(table, base: 500)
        let start = ReferenceMatrix(x)
        func expected(inverse: Bool) -> ReferenceMatrix {
            Reference.rotary(
                ReferenceMatrix(x), headWidth: shape.width, length: 5, base: 500, inverse: inverse)
        }
        let turned = expected(inverse: false)
        Rotary.rotate(x, table: table, length: 5, inverse: false)
        #expect(relativeError(x, turned) < 1e-6)
        let back = expected(inverse: true)
        Rotary.rotate(x, table: table, length: 5, inverse: true)
        #expect(relativeError(x, back) < 1e-6)
        #expect(relativeError(x, start) < 1e-6)
    }

    /// The inverse turn is the gradient of the turn.
    @Test func `oracle's gradient is that of its forward pass`() {
        let x = ReferenceMatrix(makeMatrix(6, 12, seed: 1))
        let dy = ReferenceMatrix(makeMatrix(6, 12, seed: 2))
        func rotary(_ x: ReferenceMatrix, inverse: Bool) -> ReferenceMatrix {
            Reference.rotary(x, headWidth: 6, length: 3, base: 100, inverse: inverse)
        }
        let dx = centralDifferences(x.values) { rotary(x.with($0), inverse: false).dot(dy) }
        #expect(relativeError(rotary(dy, inverse: true).values, dx) < 1e-6)
    }
}
