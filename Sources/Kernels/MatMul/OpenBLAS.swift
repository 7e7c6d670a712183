import COpenBLAS

/// `cblas_sgemm` of OpenBLAS.
///
/// The number of threads belongs to the library, so it holds for the whole process. Results depend on it and on
/// the kernels that OpenBLAS chose for this CPU (`coreName`).
public struct OpenBLAS: MatMulBackend {
    public var name: String { "OpenBLAS" }

    public init(threads: Int) {
        precondition(threads >= 1, "OpenBLAS cannot work with \(threads) threads")
        openblas_set_num_threads(Int32(threads))
        if threads > 1 { Self.pinThreads(threads) }
    }

    /// Gives each of the library's threads a CPU of its own when the process has been given exactly as many: left to the
    /// system, two of them may share one for a whole run.
    private static func pinThreads(_ threads: Int) {
        let cpus = Affinity.current.cpus
        guard cpus.count == threads else { return }
        // The library counts the calling thread as the last.
        for (index, cpu) in (cpus[1...] + [cpus[0]]).enumerated() {
            var set = cpu_set_t()
            withUnsafeMutableBytes(of: &set) { $0[cpu / 8] |= 1 << UInt8(cpu % 8) }
            _ = openblas_setaffinity(Int32(index), MemoryLayout<cpu_set_t>.size, &set)
        }
    }

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
