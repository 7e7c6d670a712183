import ArgumentParser
import Foundation
import Kernels

struct RowsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rows",
        abstract: "Time the kernels that go over rows: norms, activations, softmax, loss, update, packing.",
        discussion: """
            On one thread, in a core's own cache and from memory, beside what bounds them in the same \
            round: the bytes that they must read and write, or their vector instructions.

            Example:
              benchmarks rows --model gpt2-124m
            """)

    @OptionGroup var options: BenchmarkOptions

    func run() throws {
        let support = try TileSupport.here(environment: ProcessInfo.processInfo.environment)
        let ceilings = Ceilings.measure(support.instructions)
        let (timings, bandwidth) = try RowTiming.measure(
            RowBenchmark.all(of: options.model, instructions: support.instructions), rounds: options.rounds)
        try options.write(RowsReport(ceilings: ceilings, bandwidth: bandwidth, kernels: timings)) {
            [ceilings.text, bandwidth.text, table(timings)].joined(separator: "\n")
        }
    }

    /// A line for each kernel and place.
    private func table(_ timings: [RowTiming]) -> String {
        let header = ["kernel", "rows × columns", "in", "ns/element", "GB/s", "of bound", "bound"]
        return BenchmarkTable.text(
            [header]
                + timings.flatMap { timing in
                    timing.places.map { place in
                        [
                            timing.name, "\(timing.rows) × \(timing.columns)", place.name,
                            String(
                                format: "%.3f (%.3f-%.3f)", place.nanosecondsPerElement, place.least,
                                place.most),
                            String(format: "%.0f", 1e-9 * place.bytesPerSecond),
                            String(format: "%.0f %%", 100 * place.share), place.bound.rawValue,
                        ]
                    }
                }, leftColumns: 3)
    }
}

private struct RowsReport: Encodable {
    let schemaVersion = 2
    let ceilings: Ceilings
    let bandwidth: Bandwidth
    let kernels: [RowTiming]

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case ceilings, bandwidth, kernels
    }
}
