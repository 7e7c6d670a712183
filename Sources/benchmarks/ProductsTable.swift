import Foundation
import Kernels

/// For each precision a line per product: GFLOP/s of every way, of the CPU's peak, and how many times as fast as sgemm with
/// the spread over the rounds.
func productsTables(_ timings: [ProductTiming], modes: [TileMode]) -> String {
    let sgemm = table(
        "fp32: OpenBLAS", timings, header: ["GFLOP/s", "of peak"]
    ) { [gigaflops($0[.sgemm]), ofPeak($0[.sgemm])] }
    let tiles = modes.map { mode in
        table(
            "\(mode.precision.rawValue): \(mode.words)", timings,
            header: [
                "with packing", "of sgemm", "weights packed", "of sgemm", "kernel alone", "of sgemm",
                "of peak",
            ]
        ) { timing in
            let alone = timing[.kernelAlone(mode)]
            return [timing[.converting(mode)], timing[.prepackedWeights(mode)], alone]
                .flatMap { [gigaflops($0), ofSgemm($0)] } + [ofPeak(alone)]
        }
    }
    return ([sgemm] + tiles).joined(separator: "\n\n")
}

extension TileMode {
    /// What it executes for one product.
    fileprivate var words: String {
        let number = precision == .high && products == 1 ? "fp32" : "bf16"
        return "\(products == 1 ? "one \(number) product" : "three \(number) products"), \(instructions)"
    }
}

private func table(
    _ title: String, _ timings: [ProductTiming], header: [String], cells: (ProductTiming) -> [String]
) -> String {
    let rows = timings.map { timing in
        let product = timing.product
        return [product.layer, product.role.rawValue, "\(product.m) × \(product.n) × \(product.k)"]
            + cells(timing)
    }
    return title + "\n"
        + BenchmarkTable.text([["layer", "product", "m × n × k"] + header] + rows, leftColumns: 2)
}

private func gigaflops(_ way: ProductTiming.Way?) -> String {
    way.map { "\(Int($0.gigaflops.rounded()))" } ?? "-"
}

private func ofSgemm(_ way: ProductTiming.Way?) -> String {
    way.map { String(format: "%.2f (%.2f-%.2f)", $0.ratio, $0.leastRatio, $0.mostRatio) } ?? "-"
}

private func ofPeak(_ way: ProductTiming.Way?) -> String {
    way?.ofPeak.map { "\(Int((100 * $0).rounded())) %" } ?? "-"
}
