import Kernels

/// Memory that measured kernels work in. `cold` operands go round through all of it, so that no cache holds the next one;
/// `hot` ones always lie at its start.
final class OperandPool {
    /// Bytes: far beyond any cache that a core can count on.
    static let bytes = 192 << 20

    private let buffer: AlignedBuffer<Float>
    /// Where the next operand is to lie.
    var position = 0

    init() throws {
        buffer = try AlignedBuffer(count: Self.bytes / 4)
        refill(buffer.count)
    }

    var all: Vector { buffer.vector }

    /// Lets the next operands begin at the start of the pool: the same ones again.
    func rewind() { position = 0 }

    /// A matrix in the next free place; behind the end, the pool begins anew.
    func matrix(_ rows: Int, _ columns: Int, stride: Int? = nil) -> Matrix {
        // Rows of a page's length apart from each other would fall into the same lines of a cache.
        let count = (rows * (stride ?? columns) + 15) / 16 * 16 + 16
        if position + count > buffer.count { position = 0 }
        defer { position += count }
        return Matrix(base: buffer.base + position, rows: rows, columns: columns, stride: stride)
    }

    func vector(_ count: Int) -> Vector { matrix(1, count).vector }

    /// Leaves nothing of anything else in the caches, of cores or of the addresses that they translate, as a step does: with a
    /// last-level cache of 32 MiB, exchanges behind 48 MiB were up to twice as fast as behind 192 MiB or a step.
    func passThroughCaches() { Reductions.scale(buffer.vector, by: 1) }

    /// Numbers of both signs and of about size 1 in the first `count` elements. In-place kernels that run over their own
    /// results would otherwise come to numbers too small for the CPU's fast path.
    func refill(_ count: Int) {
        var state: UInt32 = 12_345
        for index in 0..<min(count, buffer.count) {
            state = state &* 1_664_525 &+ 1_013_904_223
            buffer.base[index] = Float(Int32(bitPattern: state) >> 8) * 0x1p-22
        }
    }
}

/// Seconds that `body` takes.
@inline(__always)
func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    return (ContinuousClock.now - start) / .seconds(1)
}
