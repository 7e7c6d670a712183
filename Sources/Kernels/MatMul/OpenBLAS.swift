import COpenBLAS

/// `cblas_sgemm` of OpenBLAS.
///
/// Results depend on the kernels that it has for this CPU (`coreName`).
public struct OpenBLAS: MatMulBackend {
    public var name: String { "OpenBLAS" }

    /// The library's own threads stay out: those of a `ThreadTeam` call it side by side.
    public init() {
        openblas_set_num_threads(1)
        _ = OpenBLASKernels.name
    }

    /// Kernels chosen for this CPU, such as `SkylakeX`.
    public static var coreName: String { OpenBLASKernels.name }

    /// Version, build options and kernels.
    public static var configuration: String {
        _ = OpenBLASKernels.name
        return String(cString: openblas_get_config())
    }

    public func multiply(
        _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
        alpha: Float, beta: Float, into c: Matrix
    ) {
        let (rows, inner) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
        let (innerB, columns) = transposeB ? (b.columns, b.rows) : (b.rows, b.columns)
        precondition(
            inner == innerB && rows == c.rows && columns == c.columns,
            "\(rows) × \(inner) times \(innerB) × \(columns) does not give \(c.shape)")
        let parts = max(1, (rows + Self.mostRows - 1) / Self.mostRows)
        // In whole register blocks, and none so small that the library would take other kernels for it.
        let size = max(1, ((rows + parts - 1) / parts + 63) / 64 * 64)
        for first in stride(from: 0, to: rows, by: size) {
            let range = first..<min(first + size, rows)
            let (a, c) = (transposeA ? a.columns(range) : a.rows(range), c.rows(range))
            let clears = beta == 0 && Self.clearsSlowly
            if clears { clear(c) }
            cblas_sgemm(
                CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans,
                transposeB ? CblasTrans : CblasNoTrans, blasint(range.count), blasint(columns),
                blasint(inner),
                alpha, a.base, leadingDimension(a), b.base, leadingDimension(b), clears ? 1 : beta, c.base,
                leadingDimension(c))
        }
    }

    /// Rows of C of one call. The library packs a panel of A that holds them all: with a row for each of 50,000 tokens it
    /// would take 50 MiB for itself, and leave the last-level cache.
    public static let mostRows = 8192

    /// Whether the library sets C to zero number by number before it adds to it, as its kernels for Zen do (0.3.21; on Zen 3
    /// 2 % of a step where d_model is 384, 6 % where it is 96). The sums are the same to the bit.
    private static let clearsSlowly = coreName == "Zen"

    private func clear(_ c: Matrix) {
        guard c.stride > c.columns else { return c.base.update(repeating: 0, count: c.rows &* c.columns) }
        for row in 0..<c.rows { (c.base + row &* c.stride).update(repeating: 0, count: c.columns) }
    }

    /// CBLAS wants at least 1, also for a matrix without columns.
    private func leadingDimension(_ matrix: Matrix) -> blasint { blasint(max(matrix.stride, 1)) }
}
