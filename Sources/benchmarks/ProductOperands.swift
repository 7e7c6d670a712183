import Kernels

/// A product's matrices, as they are and packed.
final class ProductOperands {
    private let product: TrainingProduct
    /// None: sgemm alone.
    private let modes: [TileMode]
    private let a: AlignedBuffer<Float>
    private let b: AlignedBuffer<Float>
    private let c: AlignedBuffer<Float>
    private let packedA: AlignedBuffer<UInt8>
    private let packedB: AlignedBuffer<UInt8>
    private let workspace: AlignedBuffer<UInt8>

    init(_ product: TrainingProduct, modes: [TileMode]) throws {
        let (m, n, k) = (product.m, product.n, product.k)
        self.product = product
        self.modes = modes
        a = try AlignedBuffer(count: m * k)
        b = try AlignedBuffer(count: k * n)
        c = try AlignedBuffer(count: m * n)
        packedA = try AlignedBuffer(count: PackedOperand.byteCount(rows: m, depth: k, precision: .high))
        packedB = try AlignedBuffer(count: PackedOperand.byteCount(rows: n, depth: k, precision: .high))
        workspace = try AlignedBuffer(
            count: TileMatMul.workspaceByteCount(m: m, n: n, k: k, precision: .high))
        Self.fill(a.vector)
        Self.fill(b.vector)
    }

    /// Calls `body` with each way to multiply, sgemm first, and with a function that does it once.
    func forEachWay(_ body: (_ way: WayToMultiply, _ multiply: () -> Void) -> Void) {
        let (m, n, k) = (product.m, product.n, product.k)
        let matrixA =
            product.transposesA ? a.vector.matrix(rows: k, columns: m) : a.vector.matrix(rows: m, columns: k)
        let matrixB =
            product.transposesB ? b.vector.matrix(rows: n, columns: k) : b.vector.matrix(rows: k, columns: n)
        let result = c.vector.matrix(rows: m, columns: n)
        // Gradients of weights are summed over micro-batches.
        let accumulates = product.role == .weightGradient

        func multiply(_ backend: some MatMulBackend) {
            backend.multiply(
                matrixA, transposed: product.transposesA, matrixB, transposed: product.transposesB, alpha: 1,
                beta: accumulates ? 1 : 0, into: result)
        }
        let blas = OpenBLAS()
        body(.sgemm) { multiply(blas) }
        for mode in modes {
            let (precision, products) = (mode.precision, TileProducts(instructions: mode.instructions))
            let tiles = TileMatMul(
                precision: precision, instructions: mode.instructions, workspace: workspace.vector,
                small: blas)
            body(.converting(mode)) { multiply(tiles) }

            let left = PackedOperand(.a, rows: m, depth: k, precision: precision, in: packedA.vector)
            let right = PackedOperand(.b, rows: n, depth: k, precision: precision, in: packedB.vector)
            func packA() { left.pack(matrixA, transposed: product.transposesA, with: mode.instructions) }
            packA()
            right.pack(matrixB, transposed: product.transposesB, with: mode.instructions)
            if product.role != .weightGradient {
                body(.prepackedWeights(mode)) {
                    packA()
                    products.multiply(left, right, into: result)
                }
            }
            body(.kernelAlone(mode)) {
                products.multiply(left, right, accumulate: accumulates, into: result)
            }
        }
    }

    /// Numbers of both signs and of about size 1, cheap and always the same.
    private static func fill(_ vector: Vector) {
        var state: UInt32 = 12_345
        for index in 0..<vector.count {
            state = state &* 1_664_525 &+ 1_013_904_223
            vector.base[index] = Float(Int32(bitPattern: state) >> 8) * 0x1p-23
        }
    }
}
