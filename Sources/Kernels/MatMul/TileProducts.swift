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
    /// Bytes of the panels of B that are gone through for every panel of A. For multiply-adds half an L2 of 1 MiB of fp32 numbers, to
    /// which they widen bf16 numbers, and those of A again for every such block.
    private func blockBytes(_ precision: TilePrecision) -> Int {
        (instructions == .avx512fma && precision == .high ? 512 : 256) << 10
    }

    /// `instructions` are at most those of `TileSupport.here`: the process ends at others.
    public init(instructions: TileInstructions) { self.instructions = instructions }

    /// What is read after a product, for which it asks meanwhile.
    public struct Upcoming {
        var first: StoredMatrix?
        var second: StoredMatrix?

        public init() {}
    }

    /// C[m,n] = alpha·A[m,k]·B[k,n] + bias[n], or += when accumulating; otherwise the old content of C does not matter.
    /// Both operands have the same precision.
    public func multiply(
        _ a: PackedOperand, _ b: PackedOperand, alpha: Float = 1, accumulate: Bool = false,
        bias: Vector? = nil, into c: Matrix
    ) {
        multiply(a, b, alpha: alpha, accumulate: accumulate, bias: bias, into: .full(c))
    }

    /// The same of a C that may be kept in bf16, to which sums in fp32 over at most 1,024 depths are rounded once; it is not
    /// accumulated.
    public func multiply(
        _ a: PackedOperand, _ b: PackedOperand, alpha: Float = 1, accumulate: Bool = false,
        bias: Vector? = nil, into c: StoredMatrix, fetching upcoming: Upcoming = Upcoming()
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
        precondition(c.isFull || steps <= LOCKSTEP_MOST_WIDENED_STEPS, "\(a.depth) depths for 16 bits")
        let depths = Parts(steps, atMost: c.isFull ? panelBytes / stepBytes : max(1, steps))
        let columns = Parts(
            PackedOperand.panels(b.rows),
            atMost: max(1, blockBytes(a.precision) / (depths.size * stepBytes)))
        var fetch = fetch(
            upcoming, during: PackedOperand.panels(a.rows) * PackedOperand.panels(b.rows) * steps)
        lockstep_tiles_begin(instructions.code)
        for block in 0..<columns.count {
            for part in 0..<depths.count {
                multiply(
                    a, b, panels: columns[block], steps: depths[part], alpha: alpha,
                    accumulate: accumulate || part > 0, bias: part == 0 ? bias?.base : nil, into: c,
                    fetching: &fetch)
            }
        }
        lockstep_tiles_end(instructions.code)
    }

    /// All of A by some panels of B, over some steps of the depth.
    private func multiply(
        _ a: PackedOperand, _ b: PackedOperand, panels: Range<Int>, steps: Range<Int>, alpha: Float,
        accumulate: Bool, bias: UnsafeMutablePointer<Float>?, into c: StoredMatrix,
        fetching fetch: UnsafeMutablePointer<lockstep_fetch>
    ) {
        let extent = LOCKSTEP_PANEL_EXTENT
        var block = lockstep_tile_block()
        block.steps = steps.count
        block.a = UnsafeRawPointer(a.address(panel: 0, step: steps.lowerBound))
        block.a_panel = a.panelBytes
        block.a_stride = a.rowBytes ?? packedRowBytes(a.precision)
        block.a_step = a.stepBytes
        block.rows = Int32(c.rows)
        block.b = UnsafeRawPointer(b.address(panel: panels.lowerBound, step: steps.lowerBound))
        block.b_panel = b.panelBytes
        // The first panel of A is the first that meets these of B.
        block.fetches_b = true
        let firstColumn = panels.lowerBound &* extent
        block.columns = Int32(min(panels.count &* extent, c.columns &- firstColumn))
        block.bias = bias.map { UnsafePointer($0 + firstColumn) }
        block.alpha = alpha
        block.accumulate = accumulate
        block.fetch = fetch.pointee.first.rows_left > 0 ? fetch : nil
        switch c {
        case .full(let c): (block.c, block.stride) = (c.base + firstColumn, c.stride)
        case .half(let c, let format):
            precondition(format == .bf16 && !accumulate, "sums in \(format)")
            (block.rounded, block.stride) = (c.base + firstColumn, c.stride)
        }
        lockstep_tile_multiply(instructions.code, a.precision == .high, &block)
    }

    /// Bytes from a row of a packed A to the next: fp32 numbers of a depth are side by side.
    private func packedRowBytes(_ precision: TilePrecision) -> Int {
        instructions == .avx512fma && precision == .high ? 4 : 2 * LOCKSTEP_STEP_DEPTH
    }

    /// Lines that are asked for at every step of a block, at least. On Zen 4 4 to 32 were alike; AMX, which is through with a step
    /// sooner, gets few (not measured).
    private var linesAtOnce: Int { instructions == .amx ? 4 : 16 }

    /// Asks for `upcoming` in the last of `steps` steps of blocks, so that L2 still has it after these.
    private func fetch(_ upcoming: Upcoming, during steps: Int) -> lockstep_fetch {
        let (first, second) = (Self.lines(of: upcoming.first), Self.lines(of: upcoming.second))
        let all = first.row_lines * first.rows_left + second.row_lines * second.rows_left
        guard all > 0 && steps > 0 else { return lockstep_fetch() }
        let atOnce = max(linesAtOnce, (all + steps - 1) / steps)
        return lockstep_fetch(
            first: first, second: second, lines_a_step: (atOnce + 3) / 4,
            steps_before: 4 * (steps - (all + atOnce - 1) / atOnce))
    }

    private static func lines(of matrix: StoredMatrix?) -> lockstep_lines {
        guard let matrix else { return lockstep_lines() }
        let (base, stride, rowBytes): (UnsafeRawPointer, Int, Int)
        switch matrix {
        case .full(let x): (base, stride, rowBytes) = (UnsafeRawPointer(x.base), 4 * x.stride, 4 * x.columns)
        case .half(let x, _):
            (base, stride, rowBytes) = (UnsafeRawPointer(x.base), 2 * x.stride, 2 * x.columns)
        }
        let line = 64
        let lines = (rowBytes + line - 1) / line
        return lockstep_lines(
            line: base.assumingMemoryBound(to: CChar.self), lines_left: lines, row_lines: lines,
            gap: stride - lines * line, rows_left: matrix.rows)
    }
}
