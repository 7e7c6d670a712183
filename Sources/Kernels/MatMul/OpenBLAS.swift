import COpenBLAS

/// `cblas_sgemm` of OpenBLAS.
///
/// Results depend on the kernels that OpenBLAS chose for this CPU (`coreName`).
public struct OpenBLAS: MatMulBackend {
    public var name: String { "OpenBLAS" }

    /// The library's own threads stay out: those of a `ThreadTeam` call it side by side.
    public init() { openblas_set_num_threads(1) }

    /// Kernels chosen for this CPU, such as `SkylakeX`.
    public static var coreName: String { String(cString: openblas_get_corename()) }

    /// Version and build options.
    public static var configuration: String { String(cString: openblas_get_config()) }

    public func multiply(
        _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
        alpha: Float, beta: Float, into c: Matrix
    ) {
        let (rows, inner) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
        let (innerB, columns) = transposeB ? (b.columns, b.rows) : (b.rows, b.columns)
        precondition(
            inner == innerB && rows == c.rows && columns == c.columns,
            "\(rows) × \(inner) times \(innerB) × \(columns) does not give \(c.shape)")
        cblas_sgemm(
            CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
            blasint(rows), blasint(columns), blasint(inner),
            alpha, a.base, leadingDimension(a), b.base, leadingDimension(b), beta, c.base, leadingDimension(c)
        )
    }

    /// CBLAS wants at least 1, also for a matrix without columns.
    private func leadingDimension(_ matrix: Matrix) -> blasint { blasint(max(matrix.stride, 1)) }
}
