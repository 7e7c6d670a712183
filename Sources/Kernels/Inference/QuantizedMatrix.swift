/// A weight `[n, k]` in 8 bits: its numbers are multiples, of −127 to 127, of the scale of their row.
public struct QuantizedMatrix {
    /// `[n, k]`
    public let numbers: MatrixView<Int8>
    /// `[n]`
    public let scales: Vector

    public init(numbers: MatrixView<Int8>, scales: Vector) {
        precondition(numbers.rows == scales.count, "\(scales.count) scales of \(numbers.rows) rows")
        self.numbers = numbers
        self.scales = scales
    }

    /// Takes the nearest multiples of `weight`; the scale of a row makes its largest number 127 of them (absmax quantization,
    /// Dettmers et al. 2022). A row with a number that is not finite becomes NaN.
    public func round(_ weight: Matrix, on team: ThreadTeam) {
        precondition(weight.shape == numbers.shape, "\(weight.shape) is not \(numbers.shape)")
        team.split(weight.rows, (weight, numbers, scales)) { operands, rows, _ in
            let (weight, numbers, scales) = operands
            for row in rows {
                let source = weight.base + row &* weight.stride
                var largest: Float = 0
                var isFinite = true
                for column in 0..<weight.columns {
                    largest = max(largest, abs(source[column]))
                    isFinite = isFinite && source[column].isFinite
                }
                let target = numbers.base + row &* numbers.stride
                scales.base[row] = isFinite ? largest / 127 : .nan
                // Below, 127 over the largest would not be finite.
                let isTiny = largest < Float.leastNormalMagnitude * 127
                let factor = isFinite && !isTiny ? 127 / largest : 0
                for column in 0..<weight.columns {
                    target[column] = isFinite ? Int8((source[column] * factor).rounded()) : 0
                }
            }
        }
    }
}

extension FewRows {
    /// Y[m,n] = X[m,k]·W[n,k]ᵀ + b[n], with a weight in 8 bits.
    public static func forward(
        _ x: Matrix, weight: QuantizedMatrix, bias: Vector?, into y: Matrix, on team: ThreadTeam
    ) {
        forward(x, weight: weight.numbers, scales: weight.scales, bias: bias, into: y, on: team)
    }
}
