import Kernels

/// Passes a matrix between a file that has its transpose and memory, some rows of the file at a time.
struct TransposedRows: ~Copyable {
    /// `[out, in]`, in memory.
    private let matrix: Matrix
    /// Rows `[rows, out]` of the file.
    private let block: AlignedBuffer<Float>
    /// Rows that a block has at most.
    let blockRows: Int
    /// Rows of the file, in.
    var rows: Int { matrix.columns }

    /// Throws `AllocationError`.
    init(_ matrix: Matrix) throws {
        self.matrix = matrix
        blockRows = min(matrix.columns, max(1, (1 << 18) / matrix.rows))
        block = try AlignedBuffer(count: blockRows * matrix.rows)
    }

    /// Where the file's rows `rows` go before they are in place.
    func bytes(_ rows: Range<Int>) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: block.base, count: 4 * rows.count * matrix.rows)
    }

    /// From the block to the matrix.
    func putIntoPlace(_ rows: Range<Int>) {
        for out in 0..<matrix.rows {
            let target = matrix.base + (out &* matrix.stride &+ rows.lowerBound)
            for row in 0..<rows.count { target[row] = block.base[row &* matrix.rows &+ out] }
        }
    }

    /// From the matrix to the block.
    func fetch(_ rows: Range<Int>) {
        for out in 0..<matrix.rows {
            let source = matrix.base + (out &* matrix.stride &+ rows.lowerBound)
            for row in 0..<rows.count { block.base[row &* matrix.rows &+ out] = source[row] }
        }
    }
}
