import Foundation
import Kernels

/// A line per product: GFLOP/s of each way, and how many times as fast as sgemm with the spread over the rounds.
func productsTable(_ timings: [ProductTiming]) -> String {
    let ways = [TilePrecision.high, .medium].flatMap {
        [
            ProductTiming.converting($0), ProductTiming.prepackedWeights($0), ProductTiming.kernelAlone($0),
        ]
    }
    let header =
        ["layer", "product", "m × n × k", ProductTiming.sgemm]
        + ways.flatMap { [$0, "of sgemm"] }
    let rows = timings.map { timing in
        let product = timing.product
        let sgemm = timing.ways.first { $0.name == ProductTiming.sgemm }
        return [
            product.layer, product.role.rawValue, "\(product.m) × \(product.n) × \(product.k)",
            sgemm.map { gigaflops($0) } ?? "-",
        ]
            + ways.flatMap { name in
                guard let way = timing.ways.first(where: { $0.name == name }) else { return ["-", "-"] }
                return [gigaflops(way), ratio(way)]
            }
    }
    return BenchmarkTable.text([header] + rows, leftColumns: 2)
}

private func gigaflops(_ way: ProductTiming.Way) -> String { "\(Int(way.gigaflops.rounded()))" }

private func ratio(_ way: ProductTiming.Way) -> String {
    String(format: "%.2f (%.2f-%.2f)", way.ratio, way.leastRatio, way.mostRatio)
}
