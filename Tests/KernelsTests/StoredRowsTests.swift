import Kernels
import Testing

/// Row kernels on numbers of 16 bits give what they give on the same numbers in fp32, rounded: to the bit.
@Suite struct StoredRowsTests {
    /// A matrix of random numbers of `format`: as it is kept, and in fp32. The test lets it go with the process.
    private struct Pair {
        let half: StoredMatrix
        let bits: MatrixView<UInt16>
        let full: Matrix

        init(_ format: HalfFormat, _ rows: Int, _ columns: Int, seed: UInt64) {
            full = makeMatrix(rows, columns, gap: 3, seed: seed)
            bits = MatrixView(
                base: .allocate(capacity: rows * full.stride), rows: rows, columns: columns,
                stride: full.stride)
            format.round(full, into: bits)
            half = .half(bits, format)
        }

        /// Whether what is kept is `full`, rounded.
        func isKept(_ format: HalfFormat) -> Bool {
            let expected = Pair(format, full.rows, full.columns, seed: 0)
            format.narrow(full, into: expected.bits)
            return (0..<full.rows).allSatisfy { row in
                (0..<full.columns).allSatisfy {
                    bits.base[row * bits.stride + $0] == expected.bits.base[row * bits.stride + $0]
                }
            }
        }
    }

    private static let widths = [1, 15, 16, 33, 64, 83, 128]

    private func areEqual(_ x: Matrix, _ y: Matrix) -> Bool {
        (0..<x.rows).allSatisfy { row in
            (0..<x.columns).allSatisfy {
                x.base[row * x.stride + $0].bitPattern == y.base[row * y.stride + $0].bitPattern
            }
        }
    }

    @Test(arguments: HalfFormat.allCases, Self.widths)
    func activations(format: HalfFormat, width: Int) {
        for activation in Activation.allCases {
            let (x, up) = (Pair(format, 5, width, seed: 1), Pair(format, 5, width, seed: 2))
            let y = Pair(format, 5, width, seed: 3)
            activation.forward(x.half, into: y.half)
            activation.forward(x.full, into: y.full)
            #expect(y.isKept(format), "\(activation) forward")
            activation.gatedForward(gate: x.half, up: up.half, into: y.half)
            activation.gatedForward(gate: x.full, up: up.full, into: y.full)
            #expect(y.isKept(format), "\(activation) gated forward")

            let dy = makeMatrix(5, width, seed: 4)
            let gradients = (5...8).map { makeMatrix(5, width, seed: $0) }
            activation.backward(.full(dy), x: x.half, into: .full(gradients[0]), output: y.half)
            activation.backward(dy, x: x.full, into: gradients[1], output: y.full)
            #expect(y.isKept(format) && areEqual(gradients[0], gradients[1]), "\(activation) backward")
            activation.gatedBackward(
                .full(dy), gate: x.half, up: up.half, intoGate: .full(gradients[0]),
                intoUp: .full(gradients[2]), output: y.half)
            activation.gatedBackward(
                dy, gate: x.full, up: up.full, intoGate: gradients[1], intoUp: gradients[3], output: y.full)
            #expect(y.isKept(format), "\(activation) gated backward")
            #expect(areEqual(gradients[0], gradients[1]) && areEqual(gradients[2], gradients[3]))
        }
    }

    /// In place, too, as layers do it.
    @Test(arguments: Self.widths)
    func `gradients of activations in bf16`(width: Int) {
        for activation in Activation.allCases {
            let (x, up) = (Pair(.bf16, 5, width, seed: 1), Pair(.bf16, 5, width, seed: 2))
            let (y, dy) = (Pair(.bf16, 5, width, seed: 3), Pair(.bf16, 5, width, seed: 4))
            let dUp = Pair(.bf16, 5, width, seed: 5)
            activation.gatedBackward(
                dy.half, gate: x.half, up: up.half, intoGate: dy.half, intoUp: dUp.half, output: y.half)
            activation.gatedBackward(
                dy.full, gate: x.full, up: up.full, intoGate: dy.full, intoUp: dUp.full, output: y.full)
            #expect(y.isKept(.bf16) && dy.isKept(.bf16) && dUp.isKept(.bf16), "\(activation) gated")
            HalfFormat.bf16.round(dy.full, into: dy.bits)
            activation.backward(dy.half, x: x.half, into: dy.half, output: y.half)
            activation.backward(dy.full, x: x.full, into: dy.full, output: y.full)
            #expect(y.isKept(.bf16) && dy.isKept(.bf16), "\(activation)")
        }
    }

    @Test(arguments: HalfFormat.allCases, Self.widths)
    func `sums of columns and of products`(format: HalfFormat, width: Int) {
        let (a, b) = (Pair(format, 13, width, seed: 1), Pair(format, 13, width, seed: 2))
        let (sums, expected) = (makeMatrix(1, width, seed: 3), makeMatrix(1, width, seed: 3))
        BiasGradient.accumulate(a.half, into: sums.vector)
        BiasGradient.accumulate(a.full, into: expected.vector)
        #expect(areEqual(sums, expected))
        let (dots, expectedDots) = (makeMatrix(1, 13), makeMatrix(1, 13))
        Softmax.rowDots(a.half, b.half, into: dots.vector)
        Softmax.rowDots(a.full, b.full, into: expectedDots.vector)
        #expect(areEqual(dots, expectedDots))
    }

    @Test(arguments: HalfFormat.allCases, Self.widths)
    func norms(format: HalfFormat, width: Int) {
        let (rows, epsilon) = (9, Float(1e-5))
        let (x, y) = (Pair(format, rows, width, seed: 1), Pair(format, rows, width, seed: 2))
        func vector(_ count: Int, _ seed: UInt64) -> Vector { makeMatrix(1, count, seed: seed).vector }
        let (weight, bias) = (vector(width, 3), vector(width, 4))
        let dy = makeMatrix(rows, width, seed: 5)
        let (a, b, c, d) = (vector(rows, 6), vector(rows, 6), vector(rows, 6), vector(rows, 6))
        let (dx, expected) = (makeMatrix(rows, width, seed: 7), makeMatrix(rows, width, seed: 7))
        let (dWeight, expectedWeight) = (vector(width, 8), vector(width, 8))
        let (dBias, expectedBias) = (vector(width, 9), vector(width, 9))
        let full = makeMatrix(rows, width, seed: 10)
        func matrix(_ vector: Vector) -> Matrix { vector.matrix(rows: 1, columns: vector.count) }

        LayerNorm.forward(
            x.half, weight: weight, bias: bias, epsilon: epsilon, into: y.half, mean: a, inverseDeviation: b)
        LayerNorm.forward(
            x.full, weight: weight, bias: bias, epsilon: epsilon, into: y.full, mean: c, inverseDeviation: d)
        LayerNorm.forward(
            x.half, weight: weight, bias: bias, epsilon: epsilon, into: .full(full), mean: a,
            inverseDeviation: b)
        #expect(y.isKept(format) && areEqual(full, y.full))
        #expect(areEqual(matrix(a), matrix(c)) && areEqual(matrix(b), matrix(d)))
        LayerNorm.backward(
            dy, x: x.half, weight: weight, mean: a, inverseDeviation: b, addingTo: dx, dWeight: dWeight,
            dBias: dBias)
        LayerNorm.backward(
            dy, x: x.full, weight: weight, mean: c, inverseDeviation: d, addingTo: expected,
            dWeight: expectedWeight, dBias: expectedBias)
        #expect(areEqual(dx, expected) && areEqual(matrix(dWeight), matrix(expectedWeight)))
        #expect(areEqual(matrix(dBias), matrix(expectedBias)))

        RMSNorm.forward(x.half, weight: weight, epsilon: epsilon, into: y.half, inverseRoot: a)
        RMSNorm.forward(x.full, weight: weight, epsilon: epsilon, into: y.full, inverseRoot: c)
        RMSNorm.forward(x.half, weight: weight, epsilon: epsilon, into: .full(full), inverseRoot: a)
        #expect(y.isKept(format) && areEqual(full, y.full) && areEqual(matrix(a), matrix(c)))
        RMSNorm.backward(dy, x: x.half, weight: weight, inverseRoot: a, addingTo: dx, dWeight: dWeight)
        RMSNorm.backward(
            dy, x: x.full, weight: weight, inverseRoot: c, addingTo: expected, dWeight: expectedWeight)
        #expect(areEqual(dx, expected) && areEqual(matrix(dWeight), matrix(expectedWeight)))
    }

    @Test(arguments: HalfFormat.allCases, Self.widths)
    func residualSums(format: HalfFormat, width: Int) {
        let (x, z) = (Pair(format, 4, width, seed: 1), Pair(format, 4, width, seed: 2))
        let update = makeMatrix(4, width, seed: 3)
        Residual.add(ResidualTerms(x.half, update), into: z.half)
        Residual.add(x.full, update, into: z.full)
        #expect(z.isKept(format))
    }
}
