import Configs

/// What a blocked matrix library keeps for packed operands, by the block sizes of its `sgemm`, which calibration finds.
///
/// C[m, n] row by row is the library's column-major product of n rows and m columns: it packs P × Q blocks of the one
/// operand and, when there is more than one block, a panel Q deep of all m of the other (OpenBLAS, `driver/level3/level3.c`).
/// The buffers stay, so that what counts is the largest product so far.
public struct Packing: Codable, Sendable, Equatable {
    /// P: rows of a block, in elements.
    public var blockRows: Int
    /// Q: depth of a panel, in elements.
    public var panelDepth: Int

    public init(blockRows: Int, panelDepth: Int) {
        self.blockRows = blockRows
        self.panelDepth = panelDepth
    }

    enum CodingKeys: String, CodingKey {
        case blockRows = "block_rows"
        case panelDepth = "panel_depth"
    }

    /// Bytes touched by training `config`, the reference product before it among the rest.
    ///
    /// - Parameter others: products that the same process has made.
    public func bytes(of config: RunConfig, microBatch: Int, besides others: [Product] = []) -> Int {
        let workload = Workload(config, microBatch: microBatch, sequencesPerRank: microBatch)
        let own = workload.distinctProducts.filter { !config.precision.matmul.isInTiles($0) }
        let products = own.union(others + [ReferenceSpeed.product])
        return bytes(products, threads: config.parallel.threadsPerRank)
    }

    /// Bytes touched by all of `products`, with `threads` threads sharing each and packing for themselves.
    public func bytes(_ products: some Sequence<Product>, threads: Int) -> Int {
        var (largestBlock, largestPanel) = (0, 0)
        for product in products {
            let depth = Self.part(of: product.k, upTo: panelDepth)
            let part = product.largestPart(among: threads).product
            let (m, n) = (part.m, part.n)
            largestBlock = max(largestBlock, 4 * Self.part(of: n, upTo: blockRows) * depth)
            largestPanel = max(largestPanel, 4 * depth * (n > blockRows ? Self.rows(ofCall: m) : min(m, 12)))
        }
        return threads * (largestBlock + largestPanel)
    }

    /// Rows of C of the largest call of the library, which is given at most 8,192, in equal parts of whole 64s.
    private static func rows(ofCall m: Int) -> Int {
        let parts = (m + 8191) / 8192
        return min(m, ((m + parts - 1) / parts + 63) / 64 * 64)
    }

    /// The library's step through an extent: `limit`, or half of what is left when that is less than two steps.
    private static func part(of extent: Int, upTo limit: Int) -> Int {
        if extent >= 2 * limit { return limit }
        if extent > limit { return (extent / 2 + 15) / 16 * 16 }
        return extent
    }
}
