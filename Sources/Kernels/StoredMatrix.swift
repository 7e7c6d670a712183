/// A matrix in fp32, or kept in 16 bits and computed with in fp32: read through a block of fp32 memory, and written from it.
///
/// Of one in fp32 the block is the matrix itself, so that nothing is copied.
public enum StoredMatrix {
    case full(Matrix)
    case half(MatrixView<UInt16>, HalfFormat)

    public var rows: Int {
        switch self {
        case .full(let matrix): matrix.rows
        case .half(let matrix, _): matrix.rows
        }
    }

    public var columns: Int {
        switch self {
        case .full(let matrix): matrix.columns
        case .half(let matrix, _): matrix.columns
        }
    }

    /// Whether it is in fp32.
    public var isFull: Bool {
        if case .full = self { true } else { false }
    }

    /// Rows `range`, all columns.
    public func rows(_ range: Range<Int>) -> StoredMatrix {
        switch self {
        case .full(let matrix): .full(matrix.rows(range))
        case .half(let matrix, let format): .half(matrix.rows(range), format)
        }
    }

    /// Columns `range` of every row.
    public func columns(_ range: Range<Int>) -> StoredMatrix {
        switch self {
        case .full(let matrix): .full(matrix.columns(range))
        case .half(let matrix, let format): .half(matrix.columns(range), format)
        }
    }

    /// Fp32 memory of this shape, of any content, for what is to be written here: to be handed to `keep`.
    ///
    /// - Parameter block: contiguous memory of at least as many elements; not needed in fp32.
    public func destination(_ block: @autoclosure () -> Vector) -> Matrix {
        switch self {
        case .full(let matrix): matrix
        case .half(let matrix, _):
            block().slice(0..<matrix.rows * matrix.columns)
                .matrix(rows: matrix.rows, columns: matrix.columns)
        }
    }

    /// The numbers in fp32, in `block` where they are kept in 16 bits.
    public func read(_ block: @autoclosure () -> Vector, on team: ThreadTeam = .alone) -> Matrix {
        let result = destination(block())
        if case .half(let matrix, let format) = self { format.widen(matrix, into: result, on: team) }
        return result
    }

    /// Keeps what was written to the `destination` `x`.
    public func keep(_ x: Matrix, on team: ThreadTeam = .alone) {
        switch self {
        case .full(let matrix): checkDestination(x, matrix)
        case .half(let matrix, let format): format.narrow(x, into: matrix, on: team)
        }
    }

    /// The same; `x` then has the numbers as they are kept, so that who goes on with it goes on with these.
    public func keepRounding(_ x: Matrix, on team: ThreadTeam = .alone) {
        switch self {
        case .full(let matrix): checkDestination(x, matrix)
        case .half(let matrix, let format): format.round(x, into: matrix, on: team)
        }
    }

    private func checkDestination(_ x: Matrix, _ matrix: Matrix) {
        precondition(x.base == matrix.base && x.hasShape(of: matrix), "not what is written here")
    }
}

extension MatrixView where Element == Float {
    /// Numbers of 16 bits in the first half of each row, in the place of its own.
    public var firstHalves: MatrixView<UInt16> {
        MatrixView<UInt16>(
            base: UnsafeMutableRawPointer(base).assumingMemoryBound(to: UInt16.self), rows: rows,
            columns: columns, stride: 2 * stride)
    }
}
