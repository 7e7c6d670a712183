import ArgumentParser
import Foundation

/// What all measurements of kernels are asked for with.
struct BenchmarkOptions: ParsableArguments {
    @Option(
        name: .customLong("model"),
        help: ArgumentHelp("Kernels of \(BenchmarkModel.names).", valueName: "NAME"))
    var modelName = BenchmarkModel.all[0].name

    @Option(help: ArgumentHelp("How often each takes its turn.", valueName: "N"))
    var rounds = 7

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    var model: BenchmarkModel { BenchmarkModel.named(modelName)! }

    func validate() throws {
        guard BenchmarkModel.named(modelName) != nil else {
            throw ValidationError("--model \(modelName): expected one of \(BenchmarkModel.names).")
        }
        guard rounds >= 1 else { throw ValidationError("--rounds must be at least 1.") }
    }

    /// Writes `report` as JSON when that was asked for, or else `text`.
    func write(_ report: some Encodable, _ text: () -> String) throws {
        try writeReport(report, asJSON: json, text)
    }
}

/// Writes `report` as a line of JSON, or else `text`, to standard output.
func writeReport(_ report: some Encodable, asJSON: Bool, _ text: () -> String) throws {
    guard asJSON else { return print(text()) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    FileHandle.standardOutput.write(try encoder.encode(report) + Data("\n".utf8))
}
