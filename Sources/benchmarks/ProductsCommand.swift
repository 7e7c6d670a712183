import ArgumentParser
import Foundation
import Kernels

struct ProductsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "products",
        abstract: "Time the matrix products of training: sgemm, and tiles in both precisions.",
        discussion: """
            All ways to multiply take turns on one thread, so that a drift of the machine is not mistaken for a \
            difference between them. LOCKSTEP_ISA caps the tile instructions.

            Example:
              benchmarks products --model gpt2-124m --rounds 5
            """)

    @Option(
        help: ArgumentHelp(
            "Products of \(TrainingProduct.models.joined(separator: ", ")).", valueName: "NAME"))
    var model = TrainingProduct.models[0]

    @Option(help: ArgumentHelp("How often each way takes its turn.", valueName: "N"))
    var rounds = 7

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func validate() throws {
        guard TrainingProduct.models.contains(model) else {
            throw ValidationError(
                "--model \(model): expected one of \(TrainingProduct.models.joined(separator: ", ")).")
        }
        guard rounds >= 1 else { throw ValidationError("--rounds must be at least 1.") }
    }

    func run() throws {
        let support = try TileSupport.here(environment: ProcessInfo.processInfo.environment)
        let ceilings = Ceilings.measure(support.instructions)
        let timings = try TrainingProduct.all(of: model).map {
            try ProductTiming.measure($0, instructions: support.instructions, rounds: rounds)
        }
        if json {
            let report = ProductsReport(tiles: support.description, ceilings: ceilings, products: timings)
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            FileHandle.standardOutput.write(try encoder.encode(report) + Data("\n".utf8))
        } else {
            print("Tiles: \(support.description)")
            print(ceilings.text)
            print(productsTable(timings))
        }
    }
}

private struct ProductsReport: Encodable {
    let schemaVersion = 1
    let tiles: String
    let ceilings: Ceilings
    let products: [ProductTiming]

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case tiles, ceilings, products
    }
}
