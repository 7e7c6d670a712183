import CTiles

/// The three matrix products of training a linear layer Y = X·Wᵀ + b, with a count of what they cost.
///
/// Each is split over a team: its members compute blocks of C's rows or of its columns.
public final class MatMul {
    private let backend: any MatMulBackend
    /// The same backend where it multiplies tiles.
    private let tiles: TileMatMul?
    private let team: ThreadTeam
    /// For each member of the team, products of its own, which are not split: for work that is split around them.
    public let members: [MatMul]
    private var issued = 0

    /// Floating-point operations issued so far, those of the members included; a multiply-add counted as two.
    public var flops: Int { members.reduce(issued) { $0 + $1.issued } }

    /// - Parameter backend: works in memory that the members of `team` can share out among them.
    public convenience init(backend: any MatMulBackend, team: ThreadTeam = .alone) {
        let members = (0..<team.count).map { member in
            MatMul(backend: backend.share(of: member, among: team.count), team: .alone, members: [])
        }
        self.init(backend: backend, team: team, members: members)
    }

    private init(backend: any MatMulBackend, team: ThreadTeam, members: [MatMul]) {
        self.backend = backend
        self.team = team
        self.members = members
        tiles = backend as? TileMatMul
    }

    /// Y[m,n] = scale · X[m,k]·W[n,k]ᵀ + b[n].
    public func forward(
        _ x: Matrix, weight: Matrix, bias: Vector? = nil, scale: Float = 1, into y: Matrix
    ) {
        forward(x, weight: Weight(weight), bias: bias, scale: scale, into: y)
    }

    /// The same with a weight that may have been packed.
    public func forward(
        _ x: Matrix, weight: Weight, bias: Vector? = nil, scale: Float = 1, into y: Matrix
    ) {
        forward(.full(x), weight: weight, bias: bias, scale: scale, into: .full(y))
    }

    /// The same of what may be kept in 16 bits: X, W and Y where `takes` and `gives` say so.
    public func forward(
        _ x: StoredMatrix, weight: Weight, bias: Vector? = nil, scale: Float = 1, into y: StoredMatrix
    ) {
        if let bias {
            precondition(bias.count == y.columns, "a bias of \(bias.count) for \(y.columns) outputs")
        }
        multiply(
            Product(
                a: x, transposeA: false, b: weight.matrix, transposeB: true,
                packedB: weight.packed?.forward,
                bias: bias, alpha: scale, beta: 0, c: y))
    }

    /// dX[m,k] = dY[m,n]·W[n,k], or += when accumulating.
    public func inputGradient(_ dy: Matrix, weight: Matrix, accumulate: Bool = false, into dx: Matrix) {
        inputGradient(.full(dy), weight: Weight(weight), accumulate: accumulate, into: .full(dx))
    }

    /// The same with a weight that may have been packed.
    public func inputGradient(_ dy: Matrix, weight: Weight, accumulate: Bool = false, into dx: Matrix) {
        inputGradient(.full(dy), weight: weight, accumulate: accumulate, into: .full(dx))
    }

    /// The same of what may be kept in 16 bits: dY, W and, unless accumulating, dX where `takes` and `gives` say so.
    public func inputGradient(
        _ dy: StoredMatrix, weight: Weight, accumulate: Bool = false, into dx: StoredMatrix
    ) {
        multiply(
            Product(
                a: dy, transposeA: false, b: weight.matrix, transposeB: false,
                packedB: weight.packed?.inputGradient, bias: nil, alpha: 1,
                beta: accumulate ? 1 : 0, c: dx))
    }

    /// dW[n,k] += dY[m,n]ᵀ·X[m,k], or = when not accumulating.
    public func weightGradient(_ dy: Matrix, _ x: Matrix, accumulate: Bool = true, into dw: Matrix) {
        weightGradient(.full(dy), .full(x), accumulate: accumulate, into: dw)
    }

    /// The same of operands that may be kept in 16 bits, where `takes` says so.
    public func weightGradient(
        _ dy: StoredMatrix, _ x: StoredMatrix, accumulate: Bool = true, into dw: Matrix
    ) {
        multiply(
            Product(
                a: dy, transposeA: true, b: x, transposeB: false, packedB: nil, bias: nil, alpha: 1,
                beta: accumulate ? 1 : 0, c: .full(dw)))
    }

    /// Whether all three products of `rows` rows with a weight of `weight`'s shape take operands that are kept in `format`.
    public func takes(_ format: HalfFormat, rows: Int, weight: Weight) -> Bool {
        takes(format, rows, weight.matrix.rows, weight.matrix.columns)
    }

    /// Whether products of matrices with these three extents do, whichever of them they sum over.
    public func takes(_ format: HalfFormat, _ rows: Int, _ n: Int, _ k: Int) -> Bool {
        tiles.map { $0.takes(format) } ?? false && !TileMatMul.isSmall(m: rows, n: n, k: k)
            && !TileMatMul.isSmall(m: rows, n: k, k: n) && !TileMatMul.isSmall(m: n, n: k, k: rows)
    }

    /// Whether a product that takes its operands so also gives what is kept in `format`, where it sums over `depth`.
    public func gives(_ format: HalfFormat, depth: Int) -> Bool {
        tiles.map { $0.gives(format, depth: depth) } ?? false
    }

    /// Packs a weight whose numbers have changed, where products are done in tiles.
    public func pack(_ weight: Weight) {
        packForward(weight)
        packInputGradient(weight)
    }

    /// The same, as `forward` alone reads it.
    public func packForward(_ weight: Weight) {
        guard let packed = weight.packed, let tiles else { return }
        pack(packed.forward, weight.matrix, transposed: true, tiles.instructions)
    }

    /// The same, as `inputGradient` alone reads it.
    public func packInputGradient(_ weight: Weight) {
        guard let packed = weight.packed, let tiles else { return }
        pack(packed.inputGradient, weight.matrix, transposed: false, tiles.instructions)
    }

    /// Packs the right operand B = op(`matrix`), its columns split over the team.
    private func pack(
        _ operand: PackedOperand, _ matrix: StoredMatrix, transposed: Bool, _ instructions: TileInstructions
    ) {
        team.split(
            operand.rows, grain: LOCKSTEP_PANEL_EXTENT, (operand, matrix, transposed, instructions)
        ) { shared, range, _ in
            let (operand, matrix, transposed, instructions) = shared
            operand.part(rows: range).pack(
                transposed ? matrix.rows(range) : matrix.columns(range), transposed: transposed,
                with: instructions)
        }
    }

    private func multiply(_ product: Product) {
        let (m, n, k) = product.extents
        if members.isEmpty {
            compute(product)
        } else {
            let byRows = sharesRows(product)
            let grain = Self.grain(of: (byRows ? n : m) * k)
            team.split(byRows ? m : n, grain: grain, (product, byRows, members)) { shared, range, member in
                let (product, byRows, members) = shared
                members[member].compute(byRows ? product.rows(range) : product.columns(range))
            }
        }
        issued += 2 * m * n * k * backend.executedProducts(m: m, n: n, k: k)
    }

    /// Whether members compute rows of C, and not columns: where there are more of them and, if they are rows of activations,
    /// where there are half as many and two grains for each member. What comes before and after shares activations out by
    /// rows, and to hand them over costs more than that each packs so many columns of a weight (a step 192 wide with 512 rows
    /// took 2 % less time on two cores of a last-level cache, 7 % less on two without).
    private func sharesRows(_ product: Product) -> Bool {
        if packsOnlyB(product) { return false }
        let (m, n, k) = product.extents
        return m >= n || !product.transposeA && 2 * m >= n && m >= 2 * members.count * Self.grain(of: n * k)
    }

    /// Whether threads that split C's rows would each pack all of B, and no A, where B has two grains of columns for each.
    private func packsOnlyB(_ product: Product) -> Bool {
        guard let tiles, product.packedB == nil, product.c.columns >= 2 * 64 * members.count else {
            return false
        }
        return tiles.readsInPlace(product.a, transposed: product.transposeA)
    }

    /// Rows, or columns, of C that a thread computes at least, of `multiplyAdds` each: a multiple of the register blocks of
    /// all kernels and of the panels of packed operands, and beyond the size (10⁶) up to which OpenBLAS has other kernels,
    /// with other roundings. A part is too small for tiles only where the whole product is.
    private static func grain(of multiplyAdds: Int) -> Int {
        let least = (1 << 20) / max(1, multiplyAdds)
        return (least / 64 + 1) * 64
    }

    /// On this thread.
    private func compute(_ product: Product) {
        let (m, n, k) = product.extents
        let isSmall = TileMatMul.isSmall(m: m, n: n, k: k)
        let accumulate = product.beta != 0
        if let tiles, !isSmall {
            if let packed = product.packedB {
                tiles.multiply(
                    product.a, packed: packed, alpha: product.alpha, accumulate: accumulate,
                    bias: product.bias, into: product.c)
            } else {
                tiles.multiply(
                    product.a, transposed: product.transposeA, product.b, transposed: product.transposeB,
                    alpha: product.alpha, accumulate: accumulate, bias: product.bias, into: product.c)
            }
            return
        }
        guard case (.full(let a), .full(let b), .full(let c)) = (product.a, product.b, product.c) else {
            preconditionFailure("\(backend.name) is in fp32 for \(m) × \(k) times \(k) × \(n)")
        }
        var beta = product.beta
        if let bias = product.bias {
            // The product then adds to C instead of clearing it first, so the bias costs no extra pass.
            for row in 0..<m { (c.base + row &* c.stride).update(from: bias.base, count: n) }
            beta = 1
        }
        backend.multiply(
            a, transposed: product.transposeA, b, transposed: product.transposeB, alpha: product.alpha,
            beta: beta, into: c)
    }

    /// C = alpha·op(A)·op(B) + beta·C + bias, beta 0 or 1. With a bias it is 0.
    private struct Product {
        var a: StoredMatrix
        let transposeA: Bool
        var b: StoredMatrix
        let transposeB: Bool
        /// op(B) as tiles, where it was packed.
        var packedB: PackedOperand?
        var bias: Vector?
        let alpha: Float
        let beta: Float
        var c: StoredMatrix

        /// Rows and columns of C, and what is summed over.
        var extents: (m: Int, n: Int, k: Int) { (c.rows, c.columns, transposeA ? a.rows : a.columns) }

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
            part.packedB = packedB?.part(rows: range)
            part.bias = bias?.slice(range)
            part.c = c.columns(range)
            return part
        }
    }
}
