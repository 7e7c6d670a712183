import CTiles

/// Products of fp32 matrices in tiles: packs both operands at every call and multiplies them, on the calling thread. An A that is
/// kept in the format of its panels is read as it is.
///
/// Products too small to be worth the packing go to another backend; `isSmall` says which. Large ones are done in parts, so
/// that the workspace stays small. Nothing is allocated.
public struct TileMatMul: MatMulBackend {
    public let precision: TilePrecision
    var instructions: TileInstructions { products.instructions }
    private let products: TileProducts
    private let small: any MatMulBackend
    private let workspace: VectorView<UInt8>

    /// Rows of A, or columns of B, that are packed at once, of the operand that has fewer of them: so many that packing the other
    /// one again for every part of them costs little.
    private static let mostOfSmaller = 4096
    /// And of the other one, which meets all of the former while a core's own caches hold it. On Zen 4 products of GPT-2 took 1 to
    /// 6 % less time so than with both packed as a whole.
    private static let mostOfLarger = 256
    /// Depths that are packed at once: 2 KiB of a row.
    private static func mostDepth(_ precision: TilePrecision) -> Int { precision == .high ? 512 : 1024 }

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
        bytesOfSmaller(m: m, n: n, k: k, precision: precision)
            + PackedOperand.byteCount(
                rows: min(max(m, n), mostOfLarger), depth: min(k, mostDepth(precision)), precision: precision)
    }

    /// Those for what is packed at once of the operand that has fewer rows or columns.
    private static func bytesOfSmaller(m: Int, n: Int, k: Int, precision: TilePrecision) -> Int {
        PackedOperand.byteCount(
            rows: min(m, n, mostOfSmaller), depth: min(k, mostDepth(precision)), precision: precision)
    }

    /// Bytes of workspace for a product of any size: 8.5 MiB.
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
        Self.isSmall(m: m, n: n, k: k)
            ? small.executedProducts(m: m, n: n, k: k)
            : TileMode(precision: precision, instructions: instructions).products
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
    func takes(_ format: HalfFormat) -> Bool { format == .bf16 && precision == .medium }

    /// Whether what they take so they also give, of sums over `depth` products: their sums never leave the registers.
    func gives(_ format: HalfFormat, depth: Int) -> Bool {
        takes(format) && depth <= Self.mostDepth(precision)
    }

    /// Whether all of op(A) is read as it is, not packed.
    func readsInPlace(_ a: StoredMatrix, transposed: Bool) -> Bool {
        !transposed && PackedOperand.canBeInPlace(a, precision: precision, for: instructions)
    }

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
        // Where A is read as it is, B alone is packed, and once.
        let wholeIsA = m <= n || m <= Self.mostOfSmaller && readsInPlace(a, transposed: transposeA)
        let (ofA, ofB) =
            wholeIsA ? (Self.mostOfSmaller, Self.mostOfLarger) : (Self.mostOfLarger, Self.mostOfSmaller)
        let rows = Parts(m, atMost: ofA, multipleOf: LOCKSTEP_PANEL_EXTENT)
        let columns = Parts(n, atMost: ofB, multipleOf: LOCKSTEP_PANEL_EXTENT)
        let depths = Parts(k, atMost: Self.mostDepth(precision), multipleOf: LOCKSTEP_STEP_DEPTH)
        let bytesOfSmaller = Self.bytesOfSmaller(m: m, n: n, k: k, precision: precision)
        let forSmaller = workspace.slice(0..<bytesOfSmaller)
        let forLarger = workspace.slice(bytesOfSmaller..<workspace.count)
        func packedA(_ i: Int, _ p: Int, in storage: VectorView<UInt8>) -> PackedOperand {
            operand(a, transposed: transposeA, rows[i], depths[p], in: storage)
        }
        func packedB(_ j: Int, _ p: Int, in storage: VectorView<UInt8>) -> PackedOperand {
            pack(b, transposed: transposeB, .b, columns[j], depths[p], in: storage)
        }
        func partOfA(_ i: Int, _ p: Int) -> StoredMatrix {
            window(of: a, transposed: transposeA, .a, rows[i].prefix(Self.mostOfLarger), depths[p])
        }
        func partOfB(_ j: Int, _ p: Int) -> StoredMatrix {
            window(of: b, transposed: transposeB, .b, columns[j].prefix(Self.mostOfLarger), depths[p])
        }
        let parts = wholeIsA ? columns.count : rows.count
        for whole in 0..<(wholeIsA ? rows.count : columns.count) {
            for p in 0..<depths.count {
                let smaller =
                    wholeIsA ? packedA(whole, p, in: forSmaller) : packedB(whole, p, in: forSmaller)
                for part in 0..<parts {
                    let (i, j) = wholeIsA ? (whole, part) : (part, whole)
                    var next = TileProducts.Upcoming()
                    if part + 1 < parts {
                        next.first = wholeIsA ? partOfB(part + 1, p) : partOfA(part + 1, p)
                    } else if p + 1 < depths.count {
                        next.first = wholeIsA ? partOfA(whole, p + 1) : partOfB(whole, p + 1)
                        next.second = wholeIsA ? partOfB(0, p + 1) : partOfA(0, p + 1)
                    }
                    products.multiply(
                        wholeIsA ? smaller : packedA(i, p, in: forLarger),
                        wholeIsA ? packedB(j, p, in: forLarger) : smaller,
                        alpha: alpha, accumulate: accumulate || p > 0,
                        bias: p == 0 ? bias?.slice(columns[j]) : nil,
                        into: c.rows(rows[i]).columns(columns[j]), fetching: next)
                }
            }
        }
    }

    /// The same of a B that has been packed. A and C may have as many rows as the workspace has room for.
    func multiply(
        _ a: StoredMatrix, packed b: PackedOperand, alpha: Float, accumulate: Bool, bias: Vector?,
        into c: StoredMatrix
    ) {
        let rows = Parts(c.rows, atMost: Self.mostOfLarger, multipleOf: LOCKSTEP_PANEL_EXTENT)
        let depths = Parts(a.columns, atMost: Self.mostDepth(precision), multipleOf: LOCKSTEP_STEP_DEPTH)
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
            transposed
            ? nil
            : PackedOperand(
                inPlace: a.rows(rows).columns(depths), precision: precision, for: instructions)
        return inPlace ?? pack(a, transposed: transposed, .a, rows, depths, in: storage)
    }

    /// Packs a part of an operand into the start of `storage`.
    private func pack(
        _ source: StoredMatrix, transposed: Bool, _ side: PackedOperand.Side, _ rows: Range<Int>,
        _ depths: Range<Int>, in storage: VectorView<UInt8>
    ) -> PackedOperand {
        let operand = PackedOperand(
            side, rows: rows.count, depth: depths.count, precision: precision, in: storage)
        operand.pack(
            window(of: source, transposed: transposed, side, rows, depths), transposed: transposed,
            with: products.instructions)
        return operand
    }

    /// The part of what is packed that has these rows (columns of B) and depths.
    private func window(
        of source: StoredMatrix, transposed: Bool, _ side: PackedOperand.Side, _ rows: Range<Int>,
        _ depths: Range<Int>
    ) -> StoredMatrix {
        (side == .a) != transposed ? source.rows(rows).columns(depths) : source.rows(depths).columns(rows)
    }
}
