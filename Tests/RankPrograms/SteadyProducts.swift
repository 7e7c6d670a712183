import AllocationCounter
import Kernels
import MessagePassing

/// Products in bf16 ask for no memory once their workspace is there, large or small.
func steadyProductsAllocateNothing(_ world: borrowing Communicator) throws {
    let shapes = [(m: 65, n: 47, k: 1100), (m: 4200, n: 40, k: 33), (m: 8, n: 40, k: 40)]
    let instructions = try TileSupport.here(environment: [:]).instructions
    for precision in TilePrecision.allCases {
        let bytes = shapes.map {
            TileMatMul.workspaceByteCount(m: $0.m, n: $0.n, k: $0.k, precision: precision)
        }
        let workspace = try AlignedBuffer<UInt8>(count: bytes.max()!)
        let matMul = MatMul(
            backend: TileMatMul(
                precision: precision, instructions: instructions, workspace: workspace.vector,
                small: OpenBLAS()))
        for (m, n, k) in shapes {
            let x = try AlignedBuffer<Float>(count: m * k)
            let weight = try AlignedBuffer<Float>(count: n * k)
            let y = try AlignedBuffer<Float>(count: m * n)
            let (a, b) = (x.vector.matrix(rows: m, columns: k), weight.vector.matrix(rows: n, columns: k))
            let c = y.vector.matrix(rows: m, columns: n)
            // OpenBLAS allocates at its first product.
            matMul.forward(a, weight: b, into: c)
            allocation_counter_start()
            matMul.forward(a, weight: b, scale: 0.5, into: c)
            matMul.inputGradient(c, weight: b, into: a)
            matMul.weightGradient(c, a, into: b)
            allocation_counter_stop()
            let first = String(cString: allocation_counter_first_caller())
            try require(
                allocation_counter_ours() == 0,
                "\(precision), \(m) × \(k) × \(n): \(allocation_counter_ours()) allocations, the first in \(first)"
            )
        }
    }
}
