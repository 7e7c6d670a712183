import Cost
import Kernels
import Testing

@Suite struct ProductPartTests {
    /// Cost knows nothing of threads but what this holds it to: what `ThreadTeam` gives the busiest of them.
    @Test(arguments: 1...4)
    func largestPartIsWhatTheBusiestThreadComputes(threads: Int) throws {
        let team = try ThreadTeam(threads: threads)
        for (m, n, k) in [
            (32, 96, 32), (64, 64, 64), (160, 64, 2000), (192, 192, 192), (224, 100, 300), (720, 96, 384),
            (96, 720, 384), (1024, 384, 1536), (7, 50_257, 768), (256, 50_000, 64), (1000, 1000, 1),
        ] {
            let (extent, other) = (max(m, n), min(m, n))
            let grain = ((1 << 20) / (other * k) / 64 + 1) * 64
            let shares = (0..<threads).map { team.share(of: extent, grain: grain, for: $0).count }
            let part = Product(.forward, m: m, n: n, k: k).largestPart(among: threads)
            #expect((m >= n ? part.product.m : part.product.n) == shares.max()!)
            #expect((m >= n ? part.product.n : part.product.m) == other)
            #expect(part.isShared == (shares.max()! < extent))
        }
    }
}
