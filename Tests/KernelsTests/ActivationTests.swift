import Kernels
import Testing

@Suite struct ActivationTests {
    static let kinds = Activation.allCases

    @Test(arguments: kinds, oddShapes)
    func `equals its oracle`(kind: Activation, shape: (Int, Int)) {
        for gap in [0, 5] {
            let x = makeMatrix(shape.0, shape.1, gap: gap, seed: 1, scale: 4)
            let dy = makeMatrix(shape.0, shape.1, gap: gap, seed: 2)
            let (rx, rdy) = (ReferenceMatrix(x), ReferenceMatrix(dy))
            let y = makeMatrix(shape.0, shape.1, gap: gap)
            kind.forward(x, into: y)
            #expect(relativeError(y, rx.with(rx.values.map { Reference.activation(kind, $0) })) < 1e-6)

            let gradient = zip(rdy.values, rx.values).map { $0 * Reference.activationDerivative(kind, $1) }
            let (dx, output) = (makeMatrix(shape.0, shape.1, gap: 3), makeMatrix(shape.0, shape.1, gap: gap))
            kind.backward(dy, x: x, into: dx, output: output)
            #expect(relativeError(dx, rx.with(gradient)) < 1e-6)
            // To the bit what the forward pass has given.
            #expect(ReferenceMatrix(output) == ReferenceMatrix(y))
            #expect(gapsAreIntact(dx) && gapsAreIntact(output))
            kind.backward(dy, x: x, into: dy, output: output)
            #expect(ReferenceMatrix(dy) == ReferenceMatrix(dx))
            kind.forward(x, into: x)
            #expect(relativeError(x, rx.with(rx.values.map { Reference.activation(kind, $0) })) < 1e-6)
        }
    }

    @Test(arguments: kinds)
    func `precise over the whole range`(kind: Activation) {
        let count = 4001
        let x = makeMatrix(1, count)
        for index in 0..<count { x.base[index] = Float(index - 2000) * 0.01 }
        let y = makeMatrix(1, count)
        kind.forward(x, into: y)
        for index in 0..<count {
            let expected = Reference.activation(kind, Double(x.base[index]))
            // Below -5 the oracle itself cancels.
            guard x.base[index] > -5 else {
                #expect((Double(y.base[index]) - expected).magnitude < 1e-6)
                continue
            }
            #expect((Double(y.base[index]) - expected).magnitude <= 2e-6 * expected.magnitude)
        }
    }

    @Test(arguments: kinds)
    func `extremes stay finite, NaN stays NaN`(kind: Activation) {
        let x = makeMatrix(1, 6)
        for (index, value) in [-1e10, -100, 0, 100, 1e10, Float.nan].enumerated() { x.base[index] = value }
        let y = makeMatrix(1, 6)
        kind.forward(x, into: y)
        #expect((0..<5).map { y.base[$0] } == [0, 0, 0, 100, 1e10])
        #expect(y.base[5].isNaN)
        let dy = makeMatrix(1, 6)
        Reductions.fill(dy.vector, with: 1)
        kind.backward(dy, x: x, into: dy, output: y)
        #expect([0, 1, 3, 4].map { dy.base[$0] } == [0, 0, 1, 1])
    }

    @Test(arguments: kinds, oddShapes)
    func `gates equal their oracle`(kind: Activation, shape: (Int, Int)) {
        let (rows, columns) = shape
        // Halves of one matrix, as the feed-forward layer has them.
        let joint = makeMatrix(rows, 2 * columns, gap: 3, seed: 1, scale: 4)
        let (gate, up) = (joint.columns(0..<columns), joint.columns(columns..<2 * columns))
        let (rGate, rUp) = (ReferenceMatrix(gate), ReferenceMatrix(up))
        let y = makeMatrix(rows, columns, gap: 5)
        kind.gatedForward(gate: gate, up: up, into: y)
        let products = zip(rGate.values, rUp.values).map { Reference.activation(kind, $0) * $1 }
        #expect(relativeError(y, rGate.with(products)) < 1e-6)

        let dJoint = makeMatrix(rows, 2 * columns, gap: 5, seed: 2)
        let (dGate, dUp) = (dJoint.columns(0..<columns), dJoint.columns(columns..<2 * columns))
        let dy = ReferenceMatrix(dGate)
        let output = makeMatrix(rows, columns, gap: 1)
        kind.gatedBackward(dGate, gate: gate, up: up, intoGate: dGate, intoUp: dUp, output: output)
        #expect(ReferenceMatrix(output) == ReferenceMatrix(y))
        let ofGate = dy.values.indices.map {
            dy.values[$0] * rUp.values[$0] * Reference.activationDerivative(kind, rGate.values[$0])
        }
        let ofUp = zip(dy.values, rGate.values).map { $0 * Reference.activation(kind, $1) }
        #expect(relativeError(ReferenceMatrix(dGate).values, ofGate) < 1e-6)
        #expect(relativeError(ReferenceMatrix(dUp).values, ofUp) < 1e-6)
        #expect(gapsAreIntact(dJoint))
    }

    @Test(arguments: kinds)
    func `oracle's gradient is that of its forward pass`(kind: Activation) {
        let x = doubles(makeVector(63, scale: 4))
        let differences = centralDifferences(x) { $0.reduce(0) { $0 + Reference.activation(kind, $1) } }
        #expect(relativeError(x.map { Reference.activationDerivative(kind, $0) }, differences) < 1e-6)
    }
}
