import Kernels
import Testing

@Suite struct RMSNormTests {
    let epsilon = 1e-5

    /// The last shape is of more rows than one trip of the backward pass takes.
    @Test(arguments: oddShapes + [(400, 80)], [0, 5])
    func `equals its oracle`(shape: (Int, Int), gap: Int) {
        let (rows, columns) = shape
        let x = makeMatrix(rows, columns, gap: gap, seed: 1, scale: 3)
        let weight = makeVector(columns, seed: 2)
        let y = makeMatrix(rows, columns, gap: gap)
        let inverse = makeVector(rows)
        RMSNorm.forward(x, weight: weight, epsilon: Float(epsilon), into: y, inverseRoot: inverse)
        let rx = ReferenceMatrix(x)
        #expect(
            relativeError(y, Reference.rmsNorm(rx, weight: doubles(weight), epsilon: epsilon)) < 1e-6)
        let roots = (0..<rows).map { Reference.inverseRoot(rx.row($0), epsilon: epsilon) }
        #expect(relativeError(inverse, roots) < 1e-6)

        let dy = makeMatrix(rows, columns, gap: gap, seed: 4)
        let dx = makeMatrix(rows, columns, gap: gap, seed: 5)
        let dWeight = makeVector(columns, seed: 6)
        let gradient = Reference.rmsNormBackward(
            ReferenceMatrix(dy), x: rx, weight: doubles(weight), epsilon: epsilon)
        let expectedDx = ReferenceMatrix(dx) + gradient.dx
        let expectedDWeight = zip(doubles(dWeight), gradient.dWeight).map { $0 + $1 }
        RMSNorm.backward(dy, x: x, weight: weight, inverseRoot: inverse, addingTo: dx, dWeight: dWeight)
        #expect(relativeError(dx, expectedDx) < 1e-5)
        #expect(relativeError(dWeight, expectedDWeight) < 1e-5)

        RMSNorm.forward(x, weight: weight, epsilon: Float(epsilon), into: x, inverseRoot: inverse)
        #expect(ReferenceMatrix(x) == ReferenceMatrix(y), "in place")
    }

    @Test(arguments: [(1, 2), (3, 17), (2, 63)])
    func `oracle's gradient is that of its forward pass`(rows: Int, columns: Int) {
        let x = ReferenceMatrix(makeMatrix(rows, columns, seed: 1))
        let dy = ReferenceMatrix(makeMatrix(rows, columns, seed: 2))
        let weight = doubles(makeVector(columns, seed: 3))
        let gradient = Reference.rmsNormBackward(dy, x: x, weight: weight, epsilon: epsilon)
        let dx = centralDifferences(x.values) {
            Reference.rmsNorm(x.with($0), weight: weight, epsilon: epsilon).dot(dy)
        }
        let dWeight = centralDifferences(weight) {
            Reference.rmsNorm(x, weight: $0, epsilon: epsilon).dot(dy)
        }
        #expect(relativeError(gradient.dx.values, dx) < 1e-6)
        #expect(relativeError(gradient.dWeight, dWeight) < 1e-6)
    }
}
