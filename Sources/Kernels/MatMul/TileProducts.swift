import CTiles

/// Products of packed operands, summed in fp32, on the calling thread.
///
/// Blocks as in Goto and van de Geijn (2008): the depth is cut into parts, between which sums are kept in C; a panel of A
/// meets as many panels of B as a quarter of an L2 of 1 MiB holds.
public struct TileProducts: Sendable {
    public let instructions: TileInstructions

    /// Bytes of a panel between two cuts of the depth. For AMX, which reads 32 bytes of each operand a cycle, A's stays in
    /// an L1 of 48 KiB (not measured). AVX-512 reads four times slower, and on Zen 5 gains more from fewer passes over C.
    private var panelBytes: Int { (instructions == .amx ? 32 : 64) << 10 }
    /// Bytes of the panels of B that are gone through for every panel of A.
    private static let blockBytes = 256 << 10

    /// `instructions` are at most those of `TileSupport.here`: the process ends at others.
    public init(instructions: TileInstructions) { self.instructions = instructions }

    /// C[m,n] = alpha·A[m,k]·B[k,n] + bias[n], or += when accumulating; otherwise the old content of C does not matter.
    /// Both operands have the same precision.
    public func multiply(
        _ a: PackedOperand, _ b: PackedOperand, alpha: Float = 1, accumulate: Bool = false,
        bias: Vector? = nil, into c: Matrix
    ) {
        multiply(a, b, alpha: alpha, accumulate: accumulate, bias: bias, into: .full(c))
    }

    /// The same of a C that may be kept in bf16, to which sums in fp32 are rounded once; it is not accumulated.
    public func multiply(
        _ a: PackedOperand, _ b: PackedOperand, alpha: Float = 1, accumulate: Bool = false,
        bias: Vector? = nil, into c: StoredMatrix
    ) {
        precondition(
            a.side == .a && b.side == .b && a.depth == b.depth && a.precision == b.precision,
            "A \(a.rows) × \(a.depth) of \(a.precision) and B \(b.depth) × \(b.rows) of \(b.precision)")
        precondition(
            a.rows == c.rows && b.rows == c.columns,
            "\(a.rows) × \(b.rows) sums for \(c.rows) × \(c.columns)")
        precondition(bias.map { $0.count == c.columns } ?? true, "a bias for another number of columns")

        let stepBytes = a.precision.stepBytes
        let steps = PackedOperand.steps(a.depth)
        let depths = Parts(steps, atMost: c.isFull ? panelBytes / stepBytes : max(1, steps))
        let columns = Parts(
            PackedOperand.panels(b.rows), atMost: max(1, Self.blockBytes / (depths.size * stepBytes)))
        lockstep_tiles_begin(instructions.code)
        for block in 0..<columns.count {
            for part in 0..<depths.count {
                multiply(
                    a, b, panels: columns[block], steps: depths[part], alpha: alpha,
                    accumulate: accumulate || part > 0, bias: part == 0 ? bias?.base : nil, into: c)
            }
        }
        lockstep_tiles_end(instructions.code)
    }

    /// All of A by some panels of B, over some steps of the depth.
    private func multiply(
        _ a: PackedOperand, _ b: PackedOperand, panels: Range<Int>, steps: Range<Int>, alpha: Float,
        accumulate: Bool, bias: UnsafeMutablePointer<Float>?, into c: StoredMatrix
    ) {
        let extent = LOCKSTEP_PANEL_EXTENT
        let code = instructions.code
        let isSplit = a.precision.isSplit
        var block = lockstep_tile_block()
        block.steps = steps.count
        block.a_stride = a.rowBytes
        block.a_step = a.stepBytes
        block.alpha = alpha
        block.accumulate = accumulate
        let full: UnsafeMutablePointer<Float>?
        let rounded: UnsafeMutablePointer<UInt16>?
        switch c {
        case .full(let c): (full, rounded, block.stride) = (c.base, nil, c.stride)
        case .half(let c, let format):
            precondition(format == .bf16 && !accumulate, "sums in \(format)")
            (full, rounded, block.stride) = (nil, c.base, c.stride)
        }
        for row in 0..<PackedOperand.panels(c.rows) {
            block.a = UnsafeRawPointer(a.address(panel: row, step: steps.lowerBound))
            block.rows = Int32(min(extent, c.rows &- row &* extent))
            for column in panels {
                block.b = UnsafeRawPointer(b.address(panel: column, step: steps.lowerBound))
                // The first panel of A is the first that meets these of B.
                block.next_b =
                    row == 0 && column &+ 1 < panels.upperBound
                    ? UnsafeRawPointer(b.address(panel: column &+ 1, step: steps.lowerBound)) : nil
                block.columns = Int32(min(extent, c.columns &- column &* extent))
                let first = row &* extent &* block.stride &+ column &* extent
                block.c = full.map { $0 + first }
                block.rounded = rounded.map { $0 + first }
                block.bias = bias.map { UnsafePointer($0 + column &* extent) }
                lockstep_tile_multiply(code, isSplit, &block)
            }
        }
    }
}
