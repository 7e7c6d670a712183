/// Row-major float64 matrix of the naive operators.
public struct ReferenceMatrix: Sendable, Equatable {
    public let rows: Int
    public let columns: Int
    public var values: [Double]

    public init(rows: Int, columns: Int, repeating value: Double = 0) {
        self.rows = rows
        self.columns = columns
        values = Array(repeating: value, count: rows * columns)
    }

    /// Copies a view.
    public init(_ matrix: Matrix) {
        self.init(rows: matrix.rows, columns: matrix.columns)
        for row in 0..<rows {
            for column in 0..<columns {
                self[row, column] = Double(matrix.base[row * matrix.stride + column])
            }
        }
    }

    public subscript(row: Int, column: Int) -> Double {
        get { values[row * columns + column] }
        set { values[row * columns + column] = newValue }
    }

    public func row(_ row: Int) -> [Double] { Array(values[(row * columns)..<((row + 1) * columns)]) }
}

/// Every operator once more, as its formula reads, in float64: the oracles that the vector kernels are tested
/// against. Slow; they allocate; they are for tests and for looking things up.
public enum Reference {
    /// op(A)·op(B), where op transposes when asked.
    public static func product(
        _ a: ReferenceMatrix, _ b: ReferenceMatrix, transposeA: Bool = false, transposeB: Bool = false
    ) -> ReferenceMatrix {
        let inner = transposeA ? a.rows : a.columns
        var c = ReferenceMatrix(
            rows: transposeA ? a.columns : a.rows, columns: transposeB ? b.rows : b.columns)
        for row in 0..<c.rows {
            for column in 0..<c.columns {
                for k in 0..<inner {
                    c[row, column] +=
                        (transposeA ? a[k, row] : a[row, k]) * (transposeB ? b[column, k] : b[k, column])
                }
            }
        }
        return c
    }

    /// Gradient of a bias: Σ over rows.
    public static func columnSums(_ dy: ReferenceMatrix) -> [Double] {
        (0..<dy.columns).map { column in (0..<dy.rows).reduce(0) { $0 + dy[$1, column] } }
    }
}
