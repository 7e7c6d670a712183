import Kernels
import Testing

@Suite struct LayerNormTests {
    let epsilon = 1e-5

    /// The last shape is of more rows than one trip of the backward pass takes.
    @Test(arguments: oddShapes + [(400, 80)], [0, 5])
    func `equals its oracle`(shape: (Int, Int), gap: Int) {
        let (rows, columns) = shape
        let x = makeMatrix(rows, columns, gap: gap, seed: 1, scale: 3)
        // An offset far above the spread: a one-pass variance would lose it.
        for row in 0..<rows {
            for column in 0..<columns { x.base[row * x.stride + column] += 50 }
        }
        let weight = makeVector(columns, seed: 2)
        let bias = makeVector(columns, seed: 3)
        let y = makeMatrix(rows, columns, gap: gap)
        let mean = makeVector(rows)
        let inverse = makeVector(rows)
        LayerNorm.forward(
            x, weight: weight, bias: bias, epsilon: Float(epsilon), into: y, mean: mean,
            inverseDeviation: inverse)

        let rx = ReferenceMatrix(x)
        let expected = Reference.layerNorm(rx, weight: doubles(weight), bias: doubles(bias), epsilon: epsilon)
        #expect(relativeError(y, expected) < 1e-5)
        #expect(relativeError(mean, (0..<rows).map { rx.row($0).reduce(0, +) / Double(columns) }) < 1e-6)
        let deviations = (0..<rows).map { Reference.normalize(rx.row($0), epsilon: epsilon).inverseDeviation }
        #expect(relativeError(inverse, deviations) < 1e-5)

        let dy = makeMatrix(rows, columns, gap: gap, seed: 4)
        let dx = makeMatrix(rows, columns, gap: gap, seed: 5)
        let dWeight = makeVector(columns, seed: 6)
        let dBias = makeVector(columns, seed: 7)
        let gradient = Reference.layerNormBackward(
            ReferenceMatrix(dy), x: rx, weight: doubles(weight), epsilon: epsilon)
        let expectedDx = ReferenceMatrix(dx) + gradient.dx
        let expectedDWeight = zip(doubles(dWeight), gradient.dWeight).map { $0 + $1 }
        let expectedDBias = zip(doubles(dBias), gradient.dBias).map { $0 + $1 }
        LayerNorm.backward(
            dy, x: x, weight: weight, mean: mean, inverseDeviation: inverse, addingTo: dx, dWeight: dWeight,
            dBias: dBias)
        #expect(relativeError(dx, expectedDx) < 1e-5)
        #expect(relativeError(dWeight, expectedDWeight) < 1e-5)
        #expect(relativeError(dBias, expectedDBias) < 1e-6)
    }

    /// As with a bias of zeros.
    @Test(arguments: oddShapes)
    func `without a bias`(rows: Int, columns: Int) {
        let x = makeMatrix(rows, columns, seed: 1)
        let (weight, zeros) = (makeVector(columns, seed: 2), makeVector(columns, scale: 0))
        let (mean, inverse) = (makeVector(rows), makeVector(rows))
        let (y, expected) = (makeMatrix(rows, columns), makeMatrix(rows, columns))
        LayerNorm.forward(
            x, weight: weight, bias: zeros, epsilon: 1e-5, into: expected, mean: mean,
            inverseDeviation: inverse)
        LayerNorm.forward(
            x, weight: weight, bias: nil, epsilon: 1e-5, into: y, mean: mean, inverseDeviation: inverse)
        #expect(relativeError(y, ReferenceMatrix(expected)) < 1e-7)

        let (dx, expectedDx) = (makeMatrix(rows, columns, seed: 3), makeMatrix(rows, columns, seed: 3))
        let (dWeight, expectedDWeight) = (makeVector(columns, seed: 4), makeVector(columns, seed: 4))
        LayerNorm.backward(
            y, x: x, weight: weight, mean: mean, inverseDeviation: inverse, addingTo: expectedDx,
            dWeight: expectedDWeight, dBias: zeros)
        LayerNorm.backward(
            y, x: x, weight: weight, mean: mean, inverseDeviation: inverse, addingTo: dx, dWeight: dWeight,
            dBias: nil)
        #expect(ReferenceMatrix(dx) == ReferenceMatrix(expectedDx))
        #expect(doubles(dWeight) == doubles(expectedDWeight))
    }

    @Test func `in place`() {
        let x = makeMatrix(3, 17)
        let y = makeMatrix(3, 17, seed: 2)
        let (weight, bias, mean, inverse) = (makeVector(17), makeVector(17), makeVector(3), makeVector(3))
        LayerNorm.forward(
            x, weight: weight, bias: bias, epsilon: 1e-5, into: y, mean: mean, inverseDeviation: inverse)
        LayerNorm.forward(
            x, weight: weight, bias: bias, epsilon: 1e-5, into: x, mean: mean, inverseDeviation: inverse)
        #expect(ReferenceMatrix(x) == ReferenceMatrix(y))
    }

    @Test(arguments: [(1, 1), (3, 17), (2, 63)])
    func `oracle's gradient is that of its forward pass`(rows: Int, columns: Int) {
        let x = ReferenceMatrix(makeMatrix(rows, columns, seed: 1))
        let dy = ReferenceMatrix(makeMatrix(rows, columns, seed: 2))
        let weight = doubles(makeVector(columns, seed: 3))
        let bias = doubles(makeVector(columns, seed: 4))
        let gradient = Reference.layerNormBackward(dy, x: x, weight: weight, epsilon: epsilon)
        let dx = centralDifferences(x.values) {
            Reference.layerNorm(x.with($0), weight: weight, bias: bias, epsilon: epsilon).dot(dy)
        }
        let dWeight = centralDifferences(weight) {
            Reference.layerNorm(x, weight: $0, bias: bias, epsilon: epsilon).dot(dy)
        }
        let dBias = centralDifferences(bias) {
            Reference.layerNorm(x, weight: weight, bias: $0, epsilon: epsilon).dot(dy)
        }
        #expect(
            columns == 1
                ? dx.allSatisfy { $0.magnitude < 1e-6 } : relativeError(gradient.dx.values, dx) < 1e-6)
        #expect(columns == 1 || relativeError(gradient.dWeight, dWeight) < 1e-6)
        #expect(relativeError(gradient.dBias, dBias) < 1e-6)
    }
}
