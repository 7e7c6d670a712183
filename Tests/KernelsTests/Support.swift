import Kernels
import TestSupport
import Testing

/// Shapes that leave every kind of remainder behind vectors of 16, blocks of 64 and groups of 8 rows.
let oddShapes = [(1, 1), (3, 17), (5, 63), (7, 129), (9, 64), (2, 16), (19, 33)]

/// Repeatable numbers in [-1, 1), exact in fp32.
struct Numbers {
    private var random: SplitMix64

    init(_ seed: UInt64) { random = SplitMix64(seed: seed) }

    mutating func next() -> Float { Float(Int64(bitPattern: random.next()) >> 40) * 0x1p-23 }
}

/// Fills the gap between rows: reading it spoils a result, writing it changes its bits.
private let poison = Float(nan: 0x1234, signaling: false)

/// A matrix of numbers in [-scale, scale) whose rows lie `gap` elements further apart than they are wide. Tests let
/// the storage go with the process, because a view does not keep it alive.
func makeMatrix(
    _ rows: Int, _ columns: Int, gap: Int = 0, seed: UInt64 = 1, scale: Float = 1
) -> Matrix {
    let stride = columns + gap
    let base = UnsafeMutablePointer<Float>.allocate(capacity: max(rows * stride, 1))
    base.initialize(repeating: poison, count: max(rows * stride, 1))
    var numbers = Numbers(seed)
    for row in 0..<rows {
        for column in 0..<columns { base[row * stride + column] = numbers.next() * scale }
    }
    return Matrix(base: base, rows: rows, columns: columns, stride: stride)
}

func makeVector(_ count: Int, seed: UInt64 = 1, scale: Float = 1) -> Vector {
    makeMatrix(1, count, seed: seed, scale: scale).vector
}

func copy(_ matrix: Matrix) -> Matrix {
    let result = makeMatrix(matrix.rows, matrix.columns, gap: matrix.stride - matrix.columns)
    for row in 0..<matrix.rows {
        for column in 0..<matrix.columns {
            result.base[row * result.stride + column] = matrix.base[row * matrix.stride + column]
        }
    }
    return result
}

/// Nothing was written between the rows.
func gapsAreIntact(_ matrix: Matrix) -> Bool {
    (0..<matrix.rows).allSatisfy { row in
        (matrix.columns..<matrix.stride).allSatisfy { column in
            matrix.base[row * matrix.stride + column].bitPattern == poison.bitPattern
        }
    }
}

func doubles(_ vector: Vector) -> [Double] { (0..<vector.count).map { Double(vector[$0]) } }

func + (a: ReferenceMatrix, b: ReferenceMatrix) -> ReferenceMatrix {
    var sum = a
    for index in sum.values.indices { sum.values[index] += b.values[index] }
    return sum
}

/// Largest difference, relative to the largest expected value; infinite for NaN or unequal counts.
func relativeError(_ actual: [Double], _ expected: [Double]) -> Double {
    guard actual.count == expected.count else { return .infinity }
    let scale = expected.map(\.magnitude).max() ?? 0
    let difference = zip(actual, expected).map { ($0 - $1).magnitude }
    guard difference.allSatisfy(\.isFinite) else { return .infinity }
    return (difference.max() ?? 0) / max(scale, 1e-30)
}

func relativeError(_ actual: Matrix, _ expected: ReferenceMatrix) -> Double {
    guard actual.rows == expected.rows, gapsAreIntact(actual) else { return .infinity }
    return relativeError(ReferenceMatrix(actual).values, expected.values)
}

func relativeError(_ actual: Vector, _ expected: [Double]) -> Double {
    relativeError(doubles(actual), expected)
}

/// Largest relative difference of any one element.
func elementError(_ actual: [Double], _ expected: [Double]) -> Double {
    zip(actual, expected).map { $0 == $1 ? 0 : ($0 - $1).magnitude / $1.magnitude }.max() ?? 0
}

/// Gradient of `loss` at x by central differences.
func centralDifferences(_ x: [Double], _ loss: ([Double]) -> Double) -> [Double] {
    x.indices.map { index in
        let step = 1e-5
        var above = x
        var below = x
        above[index] += step
        below[index] -= step
        return (loss(above) - loss(below)) / (above[index] - below[index])
    }
}

extension ReferenceMatrix {
    func with(_ values: [Double]) -> ReferenceMatrix {
        var copy = self
        copy.values = values
        return copy
    }

    /// Σ self∘other: the loss whose gradient with respect to self is other.
    func dot(_ other: ReferenceMatrix) -> Double { zip(values, other.values).reduce(0) { $0 + $1.0 * $1.1 } }
}
