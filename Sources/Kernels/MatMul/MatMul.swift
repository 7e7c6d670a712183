/// The three matrix products of training a linear layer Y = X·Wᵀ + b, with a count of what they cost.
///
/// Each is split over a team: its members compute blocks of C's rows or, where there are more of them, its columns.
public final class MatMul {
    private let backend: any MatMulBackend
    private let team: ThreadTeam
    /// For each member of the team, products of its own, which are not split: for work that is split around them.
    public let members: [MatMul]
    private var issued = 0

    /// Floating-point operations issued so far, those of the members included; a multiply-add counted as two.
    public var flops: Int { members.reduce(issued) { $0 + $1.issued } }

    public init(backend: any MatMulBackend, team: ThreadTeam = .alone) {
        self.backend = backend
        self.team = team
        members = (0..<team.count).map { _ in MatMul(memberOf: backend) }
    }

    private init(memberOf backend: any MatMulBackend) {
        self.backend = backend
        team = .alone
        members = []
    }

    /// Y[m,n] = scale · X[m,k]·W[n,k]ᵀ + b[n].
    public func forward(
        _ x: Matrix, weight: Matrix, bias: Vector? = nil, scale: Float = 1, into y: Matrix
    ) {
        if let bias {
            precondition(bias.count == y.columns, "a bias of \(bias.count) for \(y.columns) outputs")
        }
        multiply(
            Product(
                a: x, transposeA: false, b: weight, transposeB: true, bias: bias, alpha: scale,
                beta: bias == nil ? 0 : 1, c: y))
    }

    /// dX[m,k] = dY[m,n]·W[n,k], or += when accumulating.
    public func inputGradient(_ dy: Matrix, weight: Matrix, accumulate: Bool = false, into dx: Matrix) {
        multiply(
            Product(
                a: dy, transposeA: false, b: weight, transposeB: false, bias: nil, alpha: 1,
                beta: accumulate ? 1 : 0, c: dx))
    }

    /// dW[n,k] += dY[m,n]ᵀ·X[m,k], or = when not accumulating.
    public func weightGradient(_ dy: Matrix, _ x: Matrix, accumulate: Bool = true, into dw: Matrix) {
        multiply(
            Product(
                a: dy, transposeA: true, b: x, transposeB: false, bias: nil, alpha: 1,
                beta: accumulate ? 1 : 0, c: dw))
    }

    private func multiply(_ product: Product) {
        let (rows, columns) = (product.c.rows, product.c.columns)
        let inner = product.transposeA ? product.a.rows : product.a.columns
        let byRows = rows >= columns
        let grain = Self.grain(of: (byRows ? columns : rows) * inner)
        team.split(byRows ? rows : columns, grain: grain, (product, byRows, backend)) {
            shared, range, _ in
            let (product, byRows, backend) = shared
            (byRows ? product.rows(range) : product.columns(range)).compute(with: backend)
        }
        issued += 2 * rows * columns * inner
    }

    /// Rows, or columns, of C that a thread computes at least, of `multiplyAdds` each: a multiple of the register blocks of
    /// all kernels, and beyond the size (10⁶) up to which OpenBLAS has other kernels, with other roundings.
    private static func grain(of multiplyAdds: Int) -> Int {
        let least = (1 << 20) / max(1, multiplyAdds)
        return (least / 64 + 1) * 64
    }

    /// C = alpha·op(A)·op(B) + beta·C, where a bias, if there is one, takes the place of the old C.
    private struct Product {
        var a: Matrix
        let transposeA: Bool
        var b: Matrix
        let transposeB: Bool
        var bias: Vector?
        let alpha: Float
        let beta: Float
        var c: Matrix

        /// The part that computes rows `range` of C.
        func rows(_ range: Range<Int>) -> Product {
            var part = self
            part.a = transposeA ? a.columns(range) : a.rows(range)
            part.c = c.rows(range)
            return part
        }

        /// The part that computes columns `range` of C.
        func columns(_ range: Range<Int>) -> Product {
            var part = self
            part.b = transposeB ? b.rows(range) : b.columns(range)
            part.bias = bias?.slice(range)
            part.c = c.columns(range)
            return part
        }

        func compute(with backend: any MatMulBackend) {
            if let bias {
                // The product then adds to C instead of clearing it first, so the bias costs no extra pass.
                for row in 0..<c.rows {
                    (c.base + row &* c.stride).update(from: bias.base, count: bias.count)
                }
            }
            backend.multiply(
                a, transposed: transposeA, b, transposed: transposeB, alpha: alpha, beta: beta, into: c)
        }
    }
}
