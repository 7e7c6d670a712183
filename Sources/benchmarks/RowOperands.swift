import Kernels

/// Memory that row kernels work in: far more than any cache, of which calls take one part after the other, or always the
/// same small part.
final class RowPool {
    /// Bytes of the tensors: beyond the caches that a core can count on.
    private static let bytes = 192 << 20
    /// Most rows and columns of a kernel.
    private static let mostRows = 1 << 16
    private static let mostColumns = 1 << 20
    private static let packedBytes = 32 << 20

    private let tensors: AlignedBuffer<Float>
    private let columns: AlignedBuffer<Float>
    private let rows: AlignedBuffer<Float>
    private let packed: AlignedBuffer<UInt8>
    private let targets: AlignedBuffer<Int32>
    private var offset = 0

    init() throws {
        tensors = try AlignedBuffer(count: Self.bytes / 4)
        columns = try AlignedBuffer(count: 3 * Self.mostColumns)
        rows = try AlignedBuffer(count: 2 * Self.mostRows)
        packed = try AlignedBuffer(count: Self.packedBytes)
        targets = try AlignedBuffer(count: Self.mostRows)
        refill(tensors.count)
        for index in 0..<columns.count { columns.base[index] = 1 }
        for index in 0..<rows.count { rows.base[index] = 1 }
        for index in 0..<targets.count { targets.base[index] = Int32(index % 256) }
    }

    /// Numbers of both signs and of about size 1 in the first `count` elements.
    private func refill(_ count: Int) {
        var state: UInt32 = 12_345
        for index in 0..<count {
            state = state &* 1_664_525 &+ 1_013_904_223
            tensors.base[index] = Float(Int32(bitPattern: state) >> 8) * 0x1p-22
        }
    }

    /// Operands at the start of the memory, with fresh numbers: those of a kernel that runs over its own results become, in some
    /// dozens of calls, too small for the CPU's fast path.
    func inCache(_ shape: RowShape) -> RowOperands {
        refill(shape.tensors * (shape.count + RowShape.padding))
        return operands(shape, at: 0)
    }

    /// The next operands, which no cache holds.
    func take(_ shape: RowShape) -> RowOperands {
        let needed = shape.tensors * (shape.count + RowShape.padding)
        if offset + needed > tensors.count { offset = 0 }
        defer { offset += needed }
        return operands(shape, at: offset)
    }

    private func operands(_ shape: RowShape, at offset: Int) -> RowOperands {
        precondition(
            offset + shape.tensors * (shape.count + RowShape.padding) <= tensors.count
                && shape.rows <= Self.mostRows && shape.columns <= Self.mostColumns)
        return RowOperands(
            shape: shape, base: tensors.base + offset, columns: columns.base, rows: rows.base,
            targets: targets.base, packed: packed.vector)
    }
}

/// `tensors` matrices `[rows, columns]`.
struct RowShape {
    let tensors: Int
    let rows: Int
    let columns: Int
    var count: Int { rows * columns }

    /// Elements between two tensors, so that they do not meet in a core's cache, where GELU took a third longer with 16 of them
    /// (Zen 3). From memory it makes no difference.
    static let padding = 256

    /// The part of `benchmark` whose tensors have at most `bytes` together; all of it when nil.
    init(of benchmark: RowBenchmark, bytes: Int? = nil) {
        tensors = benchmark.tensors
        guard let bytes else {
            (rows, columns) = (benchmark.rows, benchmark.columns)
            return
        }
        let count = bytes / (4 * tensors)
        rows = max(1, min(benchmark.rows, count / benchmark.columns))
        columns = rows > 1 ? benchmark.columns : min(benchmark.columns, count / 16 * 16)
    }
}

/// What one call of a kernel works on.
struct RowOperands {
    let shape: RowShape
    fileprivate let base: UnsafeMutablePointer<Float>
    fileprivate let columns: UnsafeMutablePointer<Float>
    fileprivate let rows: UnsafeMutablePointer<Float>
    let targets: UnsafePointer<Int32>
    let packed: VectorView<UInt8>

    fileprivate init(
        shape: RowShape, base: UnsafeMutablePointer<Float>, columns: UnsafeMutablePointer<Float>,
        rows: UnsafeMutablePointer<Float>, targets: UnsafePointer<Int32>, packed: VectorView<UInt8>
    ) {
        (self.shape, self.base, self.columns, self.rows) = (shape, base, columns, rows)
        (self.targets, self.packed) = (targets, packed)
    }

    /// Tensor `index`, `[rows, columns]`.
    subscript(index: Int) -> Matrix {
        Matrix(
            base: base + index * (shape.count + RowShape.padding), rows: shape.rows, columns: shape.columns)
    }

    /// Vector `index` of an element for each column, or for each row.
    func column(_ index: Int) -> Vector {
        Vector(base: columns + index * shape.columns, count: shape.columns)
    }
    func row(_ index: Int) -> Vector { Vector(base: rows + index * shape.rows, count: shape.rows) }
}
