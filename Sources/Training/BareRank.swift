import Configs
import Cost
import Kernels
import Ledger
import MessagePassing

/// A rank without its arenas: the program, its libraries, and what MPI and BLAS keep for themselves once they have
/// worked. Its size is the `memory.runtime` of an estimate, measured on the spot.
struct BareRank {
    private let backend: any MatMulBackend
    /// Tokens of a pass, and the widest output of a linear map: the extents along which BLAS packs whole panels.
    private let tokens: Int
    private let width: Int
    /// Enough of the other extents for BLAS to fill its buffers.
    private let depth = 512
    /// Gradients that are reduced at one time.
    private let gradients: Int
    private let bucketBytes: Int

    init(_ config: RunConfig, estimate: Estimate, backend: any MatMulBackend) {
        self.backend = backend
        let model = config.model
        tokens = min(estimate.microBatch * model.contextLength, 1 << 15)
        width = min(max(model.vocabSize, model.dFF, 3 * model.dModel), 1 << 15)
        bucketBytes = config.parallel.bucketMib << 20
        gradients = min(
            estimate.parameters, GradientReduction.window * bucketBytes / MemoryLayout<Float>.stride)
    }

    /// The largest over all ranks of their peak resident memory, in bytes, less what this measurement itself allocates;
    /// nil where the system does not tell. Afterwards the peak counts anew. Collective.
    func measure(on world: borrowing Communicator) throws -> Int? {
        try multiply()
        let meter = MemoryMeter()
        meter.resetPeak()
        let reduced = try reduce(on: world)
        let peak = (meter.read()?.peak).map { max(0, $0 - reduced) }
        meter.resetPeak()
        return try withUnsafeTemporaryAllocation(of: Int64.self, capacity: 1) { largest in
            largest[0] = Int64(peak ?? 0)
            try world.allreduce(inPlace: largest, .max)
            return largest[0] > 0 ? Int(largest[0]) : nil
        }
    }

    private func multiply() throws {
        let x = try AlignedBuffer<Float>(count: max(tokens, depth) * depth)
        let y = try AlignedBuffer<Float>(count: max(tokens, width) * depth)
        let square = try AlignedBuffer<Float>(count: depth * depth)
        let matmul = MatMul(backend: backend)
        matmul.forward(
            Matrix(base: x.base, rows: tokens, columns: depth),
            weight: square.vector.matrix(rows: depth, columns: depth),
            into: Matrix(base: y.base, rows: tokens, columns: depth))
        let wide = try AlignedBuffer<Float>(count: depth * width)
        matmul.weightGradient(
            wide.vector.matrix(rows: depth, columns: width),
            Matrix(base: x.base, rows: depth, columns: depth),
            into: Matrix(base: y.base, rows: width, columns: depth))
    }

    /// Reduces as many gradients as are under way at one time, and returns their size in bytes.
    private func reduce(on world: borrowing Communicator) throws -> Int {
        guard world.size > 1 else { return 0 }
        let buffer = try AlignedBuffer<Float>(count: gradients)
        var reduction = GradientReduction(gradients: buffer.vector, bucketBytes: bucketBytes, overlaps: false)
        // The first pass changes how the C library serves the later ones.
        for _ in 0..<3 { try reduction.finish(on: world) }
        return buffer.bytes
    }
}
