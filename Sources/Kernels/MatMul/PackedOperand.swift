import CTiles

/// How fp32 operands are shown to what multiplies tiles.
public enum TilePrecision: String, CaseIterable, Sendable {
    /// Rounded to bf16: one product. Its error is about 2e-3 (Frobenius), of a single term at most 8e-3.
    case medium
    /// Rounded, together with what rounding left, rounded too: three products. Their error is about 4e-6 (Frobenius), of
    /// a single term at most 5e-5. Infinities and NaN give what is not finite, but an infinity may become NaN. Multiply-adds of
    /// fp32 numbers take these as they are: one product, of fp32's own error. A matrix takes twice the memory in either.
    case high

    /// Bytes of 32 rows by 32 depths.
    var stepBytes: Int { (self == .high ? 4 : 2) * LOCKSTEP_TILE_BYTES }
}

/// One operand of a product, packed into panels as its precision asks: a non-owning view of bytes.
///
/// Numbers below 2^-126 count as zero, and so does what rounding leaves of numbers below about 2^-118; finite numbers
/// above 3.39e38 become infinite.
public struct PackedOperand {
    public enum Side: Sendable { case a, b }

    public let side: Side
    /// Rows of A, or columns of B.
    public let rows: Int
    /// Extent that the product sums over.
    public let depth: Int
    public let precision: TilePrecision
    /// First of its tiles, in the order that `tiles.h` describes.
    public let base: UnsafeMutableRawPointer
    /// Bytes from a row of A to the next where it is as it is; nil where it is packed.
    let rowBytes: Int?
    /// Bytes from a step to the next, and from a panel to the next, which are more than its own for a part of a deeper operand.
    let stepBytes, panelBytes: Int

    /// Bytes that an operand of that many rows (columns for B) needs, a multiple of 64.
    public static func byteCount(rows: Int, depth: Int, precision: TilePrecision) -> Int {
        panels(rows) * steps(depth) * precision.stepBytes
    }

    /// Bytes that this operand needs.
    public var byteCount: Int { Self.byteCount(rows: rows, depth: depth, precision: precision) }

    /// An operand in the first `byteCount` bytes of `storage`, which must start at a multiple of 64 bytes. It holds nothing
    /// until packed.
    public init(
        _ side: Side, rows: Int, depth: Int, precision: TilePrecision, in storage: VectorView<UInt8>
    ) {
        precondition(rows >= 0 && depth >= 0, "an operand cannot be \(rows) × \(depth)")
        precondition(
            UInt(bitPattern: storage.base).isMultiple(of: 64), "an operand must be aligned to 64 bytes")
        self.side = side
        self.rows = rows
        self.depth = depth
        self.precision = precision
        base = UnsafeMutableRawPointer(storage.base)
        rowBytes = nil
        stepBytes = precision.stepBytes
        panelBytes = Self.steps(depth) * stepBytes
        precondition(byteCount <= storage.count, "\(byteCount) bytes of an operand in \(storage.count)")
    }

    /// A as it is, kept in the format that `instructions` multiply: its rows are those of a panel, farther apart. Nil where it is not
    /// kept so, or where a panel would go beyond its edges. Instructions take subnormal numbers for zero themselves.
    public init?(inPlace source: StoredMatrix, precision: TilePrecision, for instructions: TileInstructions) {
        guard Self.canBeInPlace(source, precision: precision, for: instructions) else { return nil }
        side = .a
        (rows, depth) = (source.rows, source.columns)
        self.precision = precision
        let (numberBytes, stride): (Int, Int)
        switch source {
        case .full(let matrix):
            (numberBytes, stride) = (4, matrix.stride)
            base = UnsafeMutableRawPointer(matrix.base)
        case .half(let matrix, _):
            (numberBytes, stride) = (2, matrix.stride)
            base = UnsafeMutableRawPointer(matrix.base)
        }
        rowBytes = numberBytes * stride
        stepBytes = numberBytes * LOCKSTEP_STEP_DEPTH
        panelBytes = LOCKSTEP_PANEL_EXTENT * numberBytes * stride
    }

    /// Whether such an A can be read as it is.
    static func canBeInPlace(
        _ source: StoredMatrix, precision: TilePrecision, for instructions: TileInstructions
    ) -> Bool {
        let isKeptSo =
            switch source {
            case .full: precision == .high && instructions == .avx512fma
            case .half(_, let format): precision == .medium && format == .bf16
            }
        return isKeptSo && source.rows.isMultiple(of: LOCKSTEP_PANEL_EXTENT)
            && source.columns.isMultiple(of: LOCKSTEP_STEP_DEPTH)
    }

    /// Packs A = op(source)[rows, depth], or B = op(source)[depth, rows], where op transposes when asked.
    public func pack(_ source: Matrix, transposed: Bool, with instructions: TileInstructions) {
        pack(.full(source), transposed: transposed, with: instructions)
    }

    /// The same of numbers that may be in bf16 already, which only `medium` packs.
    public func pack(_ source: StoredMatrix, transposed: Bool, with instructions: TileInstructions) {
        let depthIsContiguous = depthIsContiguous(transposed: transposed)
        let (sourceRows, sourceDepth) =
            depthIsContiguous ? (source.rows, source.columns) : (source.columns, source.rows)
        precondition(
            sourceRows == rows && sourceDepth == depth,
            "a \(sourceRows) × \(sourceDepth) matrix for an operand of \(rows) × \(depth)")
        precondition(
            panelBytes == Self.steps(depth) * stepBytes, "a part in depth cannot be packed by itself")
        var tiles = lockstep_tile_source()
        switch source {
        case .full(let matrix):
            tiles.base = UnsafeRawPointer(matrix.base)
            tiles.stride = matrix.stride
        case .half(let matrix, let format):
            precondition(
                format == .bf16 && precision == .medium, "\(format) operands of \(precision) products")
            tiles.base = UnsafeRawPointer(matrix.base)
            tiles.stride = matrix.stride
            tiles.is_bf16 = true
        }
        tiles.extent = rows
        tiles.depth = depth
        tiles.depth_is_contiguous = depthIsContiguous
        lockstep_tile_pack(
            instructions.code, side == .a ? Int32(LOCKSTEP_SIDE_A) : Int32(LOCKSTEP_SIDE_B),
            precision == .high, tiles, base)
    }

    /// Whether neighbours in depth are neighbours in a row of the source.
    func depthIsContiguous(transposed: Bool) -> Bool { (side == .a) != transposed }

    /// Panel `panel` from step `step` on.
    func address(panel: Int, step: Int) -> UnsafeMutableRawPointer {
        base + (panel &* panelBytes &+ step &* stepBytes)
    }

    /// Rows of A, or columns of B, to be packed or multiplied by themselves.
    ///
    /// - Parameter rows: begins at a multiple of 32, and ends at one or with the operand.
    func part(rows: Range<Int>) -> PackedOperand {
        precondition(
            rows.lowerBound.isMultiple(of: LOCKSTEP_PANEL_EXTENT)
                && (rows.upperBound.isMultiple(of: LOCKSTEP_PANEL_EXTENT) || rows.upperBound == self.rows)
                && rows.upperBound <= self.rows, "\(rows) of \(self.rows) rows")
        return PackedOperand(
            of: self, rows: rows.count, depth: depth,
            base: address(panel: rows.lowerBound / LOCKSTEP_PANEL_EXTENT, step: 0))
    }

    /// The part of a packed operand that a sum over `depths` of its depth reads.
    ///
    /// - Parameter depths: begins at a multiple of 32.
    func part(depths: Range<Int>) -> PackedOperand {
        precondition(
            depths.lowerBound.isMultiple(of: LOCKSTEP_STEP_DEPTH), "depths from \(depths.lowerBound)")
        return PackedOperand(
            of: self, rows: rows, depth: depths.count,
            base: address(panel: 0, step: depths.lowerBound / LOCKSTEP_STEP_DEPTH))
    }

    private init(of whole: PackedOperand, rows: Int, depth: Int, base: UnsafeMutableRawPointer) {
        (side, precision) = (whole.side, whole.precision)
        (rowBytes, stepBytes, panelBytes) = (whole.rowBytes, whole.stepBytes, whole.panelBytes)
        self.rows = rows
        self.depth = depth
        self.base = base
    }

    static func panels(_ rows: Int) -> Int { (rows + LOCKSTEP_PANEL_EXTENT - 1) / LOCKSTEP_PANEL_EXTENT }
    static func steps(_ depth: Int) -> Int { (depth + LOCKSTEP_STEP_DEPTH - 1) / LOCKSTEP_STEP_DEPTH }
}
