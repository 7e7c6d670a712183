import CTiles

/// Products of fp32 matrices in bf16: packs both operands at every call and multiplies them, on the calling thread. An A that is
/// kept in bf16 is read as it is.
///
/// Products too small to be worth the packing go to another backend; `isSmall` says which. Large ones are done in parts, so
/// that the workspace stays small. Nothing is allocated.
public struct TileMatMul: MatMulBackend {
    public let precision: TilePrecision
    var instructions: TileInstructions { products.instructions }
    private let products: TileProducts
    private let small: any MatMulBackend
    private let workspace: VectorView<UInt8>

    /// Columns of B that are packed at once: so many that packing A again for every part of them costs little.
    private static let mostColumns = 4096
    private static let mostDepth = 1024

    /// Rows of A that are packed at once. Where a core's own caches hold about all of B they hold these few, too, while they meet
    /// it: on Zen 5 steps of w1 took 2 % less time than with 4,096. A larger B would come from farther for each part of A, which
    /// cost steps of GPT-2 5 %.
    private static func mostRows(n: Int, k: Int, precision: TilePrecision) -> Int {
        let ofB = PackedOperand.byteCount(
            rows: min(n, mostColumns), depth: min(k, mostDepth), precision: precision)
        return ofB <= 3 << 19 ? 128 : 4096
    }

    public var name: String { "\(products.instructions.rawValue), \(precision.rawValue)" }

    /// `workspace` starts at a multiple of 64 bytes, has `workspaceByteCount` bytes for each product that will be asked
    /// for, as many times as there are threads to share it, and outlives this value.
    public init(
        precision: TilePrecision, instructions: TileInstructions, workspace: VectorView<UInt8>,
        small: any MatMulBackend
    ) {
        self.precision = precision
        products = TileProducts(instructions: instructions)
        self.workspace = workspace
        self.small = small
    }

    /// Bytes of workspace for a product of [m,k] by [k,n]; never less for a larger product.
    public static func workspaceByteCount(m: Int, n: Int, k: Int, precision: TilePrecision) -> Int {
        let depth = min(k, mostDepth)
        let mostRows = mostRows(n: n, k: k, precision: precision)
        return PackedOperand.byteCount(rows: min(m, mostRows), depth: depth, precision: precision)
            + PackedOperand.byteCount(rows: min(n, mostColumns), depth: depth, precision: precision)
    }

    /// Bytes of workspace for a product of any size: 16 MiB, or 32 MiB for `high`.
    public static func largestWorkspaceByteCount(precision: TilePrecision) -> Int {
        workspaceByteCount(m: .max, n: .max, k: .max, precision: precision)
    }

    /// Whether a product of [m,k] by [k,n] is left to the backend for small ones.
    ///
    /// From where `medium` with AVX-512 was no faster than sgemm on Zen 5, operands in cache, the other extents 384: 0.4
    /// times as fast at m = 1 and 2 times at 8; 1.0 at n = 8 and 1.1 at 16; 0.6 at k = 8, 0.9 at 16 and 1.5 at 32; 0.4 at
    /// 16 × 16 × 16 and 1.0-2.0 at 32 × 32 × 32.
    public static func isSmall(m: Int, n: Int, k: Int) -> Bool {
        m < 8 || n < 16 || k < 32 || m * n * k < 32 * 32 * 32
    }

    public func executedProducts(m: Int, n: Int, k: Int) -> Int {
        Self.isSmall(m: m, n: n, k: k) ? small.executedProducts(m: m, n: n, k: k) : precision.products
    }

    public func share(of member: Int, among count: Int) -> TileMatMul {
        let bytes = workspace.count / count / 64 * 64
        return TileMatMul(
            precision: precision, instructions: instructions,
            workspace: workspace.slice(member * bytes..<(member + 1) * bytes),
            small: small.share(of: member, among: count))
    }

    public func multiply(
        _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
        alpha: Float, beta: Float, into c: Matrix
    ) {
        let (m, k) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
        let (depthOfB, n) = transposeB ? (b.columns, b.rows) : (b.rows, b.columns)
        precondition(
            k == depthOfB && m == c.rows && n == c.columns,
            "\(m) × \(k) times \(depthOfB) × \(n) does not give \(c.shape)")
        if Self.isSmall(m: m, n: n, k: k) {
            small.multiply(
                a, transposed: transposeA, b, transposed: transposeB, alpha: alpha, beta: beta, into: c)
            return
        }
        if beta != 0 && beta != 1 {
            for row in 0..<m {
                Reductions.scale(Vector(base: c.base + row &* c.stride, count: n), by: beta)
            }
        }
        multiply(
            .full(a), transposed: transposeA, .full(b), transposed: transposeB, alpha: alpha,
            accumulate: beta != 0, bias: nil, into: .full(c))
    }

    /// Whether products take operands that are kept in `format` as they are, unless they are small.
    func takes(_ format: HalfFormat) -> Bool { format == .bf16 && !precision.isSplit }

    /// Whether what they take so they also give, of sums over `depth` products: their sums never leave the registers.
    func gives(_ format: HalfFormat, depth: Int) -> Bool { takes(format) && depth <= Self.mostDepth }

    /// C[m,n] = alpha·op(A)[m,k]·op(B)[k,n] + bias[n], of operands that may be kept in 16 bits; added to C when accumulating, which
    /// has no bias. C may be in a format that it `gives`. Not for small products.
    func multiply(
        _ a: StoredMatrix, transposed transposeA: Bool, _ b: StoredMatrix, transposed transposeB: Bool,
        alpha: Float, accumulate: Bool, bias: Vector?, into c: StoredMatrix
    ) {
        let (m, n, k) = (c.rows, c.columns, transposeA ? a.rows : a.columns)
        precondition(
            Self.workspaceByteCount(m: m, n: n, k: k, precision: precision) <= workspace.count,
            "a workspace of \(workspace.count) bytes for \(m) × \(k) times \(k) × \(n)")
        let mostRows = Self.mostRows(n: n, k: k, precision: precision)
        let rows = Parts(m, atMost: mostRows, multipleOf: LOCKSTEP_PANEL_EXTENT)
        let columns = Parts(n, atMost: Self.mostColumns, multipleOf: LOCKSTEP_PANEL_EXTENT)
        let depths = Parts(k, atMost: Self.mostDepth, multipleOf: LOCKSTEP_STEP_DEPTH)
        for j in 0..<columns.count {
            for p in 0..<depths.count {
                let (packedB, rest) = pack(
                    b, transposed: transposeB, .b, columns[j], depths[p], in: workspace)
                for i in 0..<rows.count {
                    products.multiply(
                        operand(a, transposed: transposeA, rows[i], depths[p], in: rest), packedB,
                        alpha: alpha, accumulate: accumulate || p > 0,
                        bias: p == 0 ? bias?.slice(columns[j]) : nil,
                        into: c.rows(rows[i]).columns(columns[j]))
                }
            }
        }
    }

    /// The same of a B that has been packed. A and C may have as many rows as the workspace has room for.
    func multiply(
        _ a: StoredMatrix, packed b: PackedOperand, alpha: Float, accumulate: Bool, bias: Vector?,
        into c: StoredMatrix
    ) {
        let mostRows = Self.mostRows(n: c.columns, k: a.columns, precision: precision)
        let rows = Parts(c.rows, atMost: mostRows, multipleOf: LOCKSTEP_PANEL_EXTENT)
        let depths = Parts(a.columns, atMost: Self.mostDepth, multipleOf: LOCKSTEP_STEP_DEPTH)
        // All depths of some rows of C before the next, which a cache then holds until their sums are whole.
        for i in 0..<rows.count {
            for p in 0..<depths.count {
                products.multiply(
                    operand(a, transposed: false, rows[i], depths[p], in: workspace),
                    b.part(depths: depths[p]), alpha: alpha, accumulate: accumulate || p > 0,
                    bias: p == 0 ? bias : nil, into: c.rows(rows[i]))
            }
        }
    }

    /// Some rows and depths of A: as it is where that can be, else packed into the start of `storage`.
    private func operand(
        _ a: StoredMatrix, transposed: Bool, _ rows: Range<Int>, _ depths: Range<Int>,
        in storage: VectorView<UInt8>
    ) -> PackedOperand {
        let inPlace =
            transposed ? nil : PackedOperand(inPlace: a.rows(rows).columns(depths), precision: precision)
        return inPlace ?? pack(a, transposed: transposed, .a, rows, depths, in: storage).0
    }

    /// Packs a part of an operand into the start of `storage`; also returns what is left of that.
    private func pack(
        _ source: StoredMatrix, transposed: Bool, _ side: PackedOperand.Side, _ rows: Range<Int>,
        _ depths: Range<Int>, in storage: VectorView<UInt8>
    ) -> (PackedOperand, rest: VectorView<UInt8>) {
        let operand = PackedOperand(
            side, rows: rows.count, depth: depths.count, precision: precision, in: storage)
        let part =
            operand.depthIsContiguous(transposed: transposed)
            ? source.rows(rows).columns(depths) : source.rows(depths).columns(rows)
        operand.pack(part, transposed: transposed, with: products.instructions)
        return (operand, storage.slice(operand.byteCount..<storage.count))
    }
}
