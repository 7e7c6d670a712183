/// What the busiest thread computes of a product.
public struct ProductPart: Hashable, Sendable {
    public let product: Product
    /// Whether it is less than the whole, so that threads wait for each other.
    public let isShared: Bool
}

extension Product {
    /// The largest part that one of `threads` threads computes, as `MatMul` shares a product out: whole grains of C's rows or
    /// of its columns. A grain is a multiple of 64 with 2²⁰ multiply-adds at least; the last part has the rest.
    public func largestPart(among threads: Int) -> ProductPart {
        func grain(across other: Int) -> Int { ((1 << 20) / max(1, other * k) / 64 + 1) * 64 }
        // Rows where there are more of them or, of activations, half as many and two grains for each thread.
        let byRows = m >= n || role != .weightGradient && 2 * m >= n && m >= 2 * threads * grain(across: n)
        let (extent, other) = byRows ? (m, n) : (n, m)
        let grain = grain(across: other)
        let grains = extent / grain
        let parts = min(threads, max(1, grains))
        guard parts > 1 else { return ProductPart(product: self, isShared: false) }
        let (share, rest) = extent.quotientAndRemainder(dividingBy: parts)
        /// The multiple of a grain that is nearest to equal shares; those behind need a grain each. Nothing overflows, however
        /// large a vocabulary is.
        func start(of part: Int) -> Int {
            guard part < parts else { return extent }
            let nearest = (2 * share * part + (2 * rest * part + parts * grain) / parts) / (2 * grain)
            return min(nearest, grains - (parts - part)) * grain
        }
        let most = (0..<parts).map { start(of: $0 + 1) - start(of: $0) }.max() ?? extent
        return ProductPart(
            product: Product(role, m: byRows ? most : m, n: byRows ? n : most, k: k), isShared: true)
    }
}
