import Configs
import Cost
import Kernels
import Ledger

/// Finds the matrix library's block sizes by what its first products add to the memory of this process.
struct PackingProbe {
    private let extent = 2048
    /// The largest products that this process has made when the probe is done.
    static let products = [Product(.forward, m: 1024, n: 2048, k: 2048)]
    private let fewRows = 8
    private let manyRows = 1024

    /// Only the first call in a process tells: the library keeps its buffers. Throws when the system does not tell.
    func measure(backend: any MatMulBackend) throws -> Packing {
        let matmul = MatMul(backend: backend)
        let x = try AlignedBuffer<Float>(count: manyRows * extent)
        let weight = try AlignedBuffer<Float>(count: extent * extent)
        let y = try AlignedBuffer<Float>(count: manyRows * extent)
        let meter = MemoryMeter()
        func grown(by rows: Int) -> Int? {
            guard let before = meter.anonymousExactly() else { return nil }
            matmul.forward(
                x.vector.slice(0..<rows * extent).matrix(rows: rows, columns: extent),
                weight: weight.vector.matrix(rows: extent, columns: extent),
                into: y.vector.slice(0..<rows * extent).matrix(rows: rows, columns: extent))
            return meter.anonymousExactly().map { $0 - before }
        }
        // Touches what any first product touches beside its operands, and a known part of the block: 256 × 64.
        let (columns, inner) = (256, 64)
        matmul.forward(
            x.vector.slice(0..<inner * inner).matrix(rows: inner, columns: inner),
            weight: weight.vector.slice(0..<columns * inner).matrix(rows: columns, columns: inner),
            into: y.vector.slice(0..<inner * columns).matrix(rows: inner, columns: columns))
        let touched = 4 * columns * inner
        // A block of P × Q and a panel of 8 × Q, then a panel of 1,024 × Q.
        guard let first = grown(by: fewRows), let second = grown(by: manyRows) else { throw unknown }
        let depth = nearest(8, to: Double(second) / Double(4 * (manyRows - fewRows)))
        guard depth > 0 else { throw unknown }
        let rows = nearest(8, to: Double(first + touched) / Double(4 * depth) - Double(fewRows))
        return Packing(blockRows: max(8, rows), panelDepth: depth)
    }

    private var unknown: LockstepError {
        LockstepError(
            .inputMissing,
            "/proc/self/smaps_rollup: cannot be read, so that the memory of a rank cannot be measured; calibrate on Linux "
                + "with /proc mounted")
    }

    private func nearest(_ multiple: Int, to value: Double) -> Int {
        Int((value / Double(multiple)).rounded()) * multiple
    }
}
