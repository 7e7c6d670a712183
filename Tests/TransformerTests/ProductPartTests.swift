import Cost
import Kernels
import Synchronization
import Testing

@Suite struct ProductPartTests {
    /// Multiplies nothing and keeps how many rows and columns of C it was asked for.
    private final class Asked: MatMulBackend, Sendable {
        let name = "asked"
        let parts = Mutex<[(m: Int, n: Int)]>([])

        func multiply(
            _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
            alpha: Float, beta: Float, into c: Matrix
        ) {
            parts.withLock { $0.append((c.rows, c.columns)) }
        }
    }

    /// Cost knows nothing of threads but what this holds it to: the largest part that `MatMul` gives one of them.
    @Test(arguments: 1...4, Product.Role.allCases)
    func largestPartIsWhatTheBusiestThreadComputes(threads: Int, role: Product.Role) throws {
        let asked = Asked()
        let matmul = MatMul(backend: asked, team: try ThreadTeam(threads: threads))
        // Of all of them: nobody looks at it.
        let memory = try AlignedBuffer<Float>(count: 1 << 23)
        func matrix(_ rows: Int, _ columns: Int) -> Matrix {
            memory.vector.slice(0..<rows * columns).matrix(rows: rows, columns: columns)
        }
        for (m, n, k) in [
            (32, 96, 32), (64, 64, 64), (160, 64, 2000), (192, 192, 192), (224, 100, 300), (720, 96, 384),
            (96, 720, 384), (1024, 384, 1536), (7, 50_257, 70), (256, 20_000, 64), (1000, 1000, 1),
            (512, 768, 192), (512, 1024, 192), (512, 1025, 192), (255, 400, 192), (256, 400, 192),
            (384, 768, 60),
        ] {
            switch role {
            case .forward: matmul.forward(matrix(m, k), weight: matrix(n, k), into: matrix(m, n))
            case .inputGradient: matmul.inputGradient(matrix(m, k), weight: matrix(k, n), into: matrix(m, n))
            case .weightGradient: matmul.weightGradient(matrix(k, m), matrix(k, n), into: matrix(m, n))
            }
            let parts = asked.parts.withLock { parts in
                defer { parts = [] }
                return parts
            }
            let part = Product(role, m: m, n: n, k: k).largestPart(among: threads)
            let largest = try #require(parts.max { $0.m * $0.n < $1.m * $1.n })
            #expect((part.product.m, part.product.n) == largest, "\(m) × \(n) × \(k)")
            #expect(part.isShared == (parts.count > 1), "\(m) × \(n) × \(k)")
        }
    }
}
