import Kernels
import Testing

/// Every way of multiplying tiles that this CPU has.
let tileInstructions: [TileInstructions] = {
    let here = try! TileSupport.here(environment: [:]).instructions
    // Tile registers may be refused.
    let best = TileSupport.ofCPU == .amx ? max(here, .avx512bf16) : TileSupport.ofCPU
    return TileInstructions.allCases.filter { $0 <= best }
}()

/// Memory for packed operands, filled with bytes that spoil a result when they are read. Tests let it go with the process.
func packedStorage(_ count: Int) -> VectorView<UInt8> {
    let raw = UnsafeMutableRawPointer.allocate(byteCount: max(count, 64), alignment: 64)
    let base = raw.initializeMemory(as: UInt8.self, repeating: 0xFF, count: max(count, 64))
    return VectorView(base: base, count: count)
}

func packed(
    _ side: PackedOperand.Side, _ source: Matrix, transposed: Bool, _ precision: TilePrecision,
    _ instructions: TileInstructions
) -> PackedOperand {
    let (rows, depth) =
        (side == .a) != transposed ? (source.rows, source.columns) : (source.columns, source.rows)
    let storage = packedStorage(PackedOperand.byteCount(rows: rows, depth: depth, precision: precision))
    let operand = PackedOperand(side, rows: rows, depth: depth, precision: precision, in: storage)
    operand.pack(source, transposed: transposed, with: instructions)
    return operand
}

/// A backend for `threads` threads over memory of its own, which the process keeps. What is too small for tiles goes to
/// OpenBLAS.
func tileMatMul(
    _ precision: TilePrecision, _ instructions: TileInstructions, m: Int, n: Int, k: Int, threads: Int = 1
) -> TileMatMul {
    let bytes = threads * TileMatMul.workspaceByteCount(m: m, n: n, k: k, precision: precision)
    return TileMatMul(
        precision: precision, instructions: instructions, workspace: packedStorage(bytes),
        small: OpenBLAS())
}

/// What a product must give, in float64, and the same product of magnitudes, which scales its rounding errors.
struct ExpectedProduct {
    private(set) var product: ReferenceMatrix
    private(set) var magnitude: ReferenceMatrix

    /// op(A)·op(B).
    init(_ a: Matrix, transposed transposeA: Bool = false, _ b: Matrix, transposed transposeB: Bool = false) {
        let (m, k) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
        let n = transposeB ? b.rows : b.columns
        product = ReferenceMatrix(rows: m, columns: n)
        magnitude = product
        var row = [Double](repeating: 0, count: n)
        for p in 0..<k {
            for j in 0..<n {
                row[j] = Double(transposeB ? b.base[j * b.stride + p] : b.base[p * b.stride + j])
            }
            for i in 0..<m {
                let x = Double(transposeA ? a.base[p * a.stride + i] : a.base[i * a.stride + p])
                for j in 0..<n {
                    product.values[i * n + j] += x * row[j]
                    magnitude.values[i * n + j] += (x * row[j]).magnitude
                }
            }
        }
    }

    /// The largest |actual − expected| of any element, relative to its magnitude, over the part of the product that
    /// `actual` has; infinite when something is not finite or was written between rows.
    func error(_ actual: Matrix) -> Double {
        guard gapsAreIntact(actual) else { return .infinity }
        var largest = 0.0
        for i in 0..<actual.rows {
            for j in 0..<actual.columns {
                let difference = (Double(actual.base[i * actual.stride + j]) - product[i, j]).magnitude
                guard difference.isFinite else { return .infinity }
                if difference > 0 { largest = max(largest, difference / magnitude[i, j]) }
            }
        }
        return largest
    }

    /// ‖actual − expected‖ / ‖expected‖ (Frobenius).
    func frobeniusError(_ actual: Matrix) -> Double {
        let difference = zip(ReferenceMatrix(actual).values, product.values).reduce(0) {
            $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
        }
        return (difference / product.dot(product)).squareRoot()
    }

    /// alpha·product + base[i,j] in place of the product.
    func scaled(_ alpha: Double, plus base: (Int, Int) -> Double) -> ExpectedProduct {
        var result = self
        for i in 0..<product.rows {
            for j in 0..<product.columns {
                result.product[i, j] = alpha * product[i, j] + base(i, j)
                result.magnitude[i, j] = alpha.magnitude * magnitude[i, j] + base(i, j).magnitude
            }
        }
        return result
    }
}

extension TilePrecision {
    /// Largest error of a term a·b relative to |a·b|, with room for sums in fp32. Rounding to bf16's 8 bits errs by 2^-8 at
    /// most. `high` loses the product of two such errors, and twice the rounding of one.
    var bound: Double { (self == .medium ? 0x1p-7 : 3 * 0x1p-16) * 1.01 }
}
