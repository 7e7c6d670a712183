/// The three matrix products of training a linear layer Y = X·Wᵀ + b, with a count of what they cost.
public final class MatMul {
    private let backend: any MatMulBackend
    /// The same backend where it multiplies tiles.
    private let tiles: TileMatMul?

    /// Floating-point operations issued so far, a multiply-add counted as two.
    public private(set) var flops = 0

    public init(backend: any MatMulBackend) {
        self.backend = backend
        tiles = backend as? TileMatMul
    }

    /// Y[m,n] = scale · X[m,k]·W[n,k]ᵀ + b[n].
    public func forward(
        _ x: Matrix, weight: Matrix, bias: Vector? = nil, scale: Float = 1, into y: Matrix
    ) {
        if let bias {
            precondition(bias.count == y.columns, "a bias of \(bias.count) for \(y.columns) outputs")
            // The product then adds to C instead of clearing it first, so the bias costs no extra pass.
            for row in 0..<y.rows {
                (y.base + row &* y.stride).update(from: bias.base, count: bias.count)
            }
        }
        multiply(
            x, transposed: false, weight, transposed: true, alpha: scale, beta: bias == nil ? 0 : 1, into: y)
    }

    /// The same with a weight that may have been packed.
    public func forward(_ x: Matrix, weight: Weight, bias: Vector? = nil, into y: Matrix) {
        guard let packed = weight.packed, let tiles,
            !TileMatMul.isSmall(m: y.rows, n: y.columns, k: x.columns)
        else {
            forward(x, weight: weight.matrix, bias: bias, into: y)
            return
        }
        tiles.multiply(x, packed: packed.forward, alpha: 1, bias: bias, into: y)
        count(m: y.rows, n: y.columns, k: x.columns)
    }

    /// dX[m,k] = dY[m,n]·W[n,k], or += when accumulating.
    public func inputGradient(_ dy: Matrix, weight: Matrix, accumulate: Bool = false, into dx: Matrix) {
        multiply(
            dy, transposed: false, weight, transposed: false, alpha: 1, beta: accumulate ? 1 : 0, into: dx)
    }

    /// The same with a weight that may have been packed, and without accumulation.
    public func inputGradient(_ dy: Matrix, weight: Weight, into dx: Matrix) {
        guard let packed = weight.packed, let tiles,
            !TileMatMul.isSmall(m: dx.rows, n: dx.columns, k: dy.columns)
        else {
            inputGradient(dy, weight: weight.matrix, into: dx)
            return
        }
        tiles.multiply(dy, packed: packed.inputGradient, alpha: 1, bias: nil, into: dx)
        count(m: dx.rows, n: dx.columns, k: dy.columns)
    }

    /// dW[n,k] += dY[m,n]ᵀ·X[m,k], or = when not accumulating.
    public func weightGradient(_ dy: Matrix, _ x: Matrix, accumulate: Bool = true, into dw: Matrix) {
        multiply(dy, transposed: true, x, transposed: false, alpha: 1, beta: accumulate ? 1 : 0, into: dw)
    }

    /// Packs a weight whose numbers have changed, where products are done in tiles.
    public func pack(_ weight: Weight) { tiles?.pack(weight) }

    private func multiply(
        _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
        alpha: Float, beta: Float, into c: Matrix
    ) {
        backend.multiply(
            a, transposed: transposeA, b, transposed: transposeB, alpha: alpha, beta: beta, into: c)
        count(m: c.rows, n: c.columns, k: transposeA ? a.rows : a.columns)
    }

    private func count(m: Int, n: Int, k: Int) {
        flops += 2 * m * n * k * backend.executedProducts(m: m, n: n, k: k)
    }
}
