import ArgumentParser
import Foundation
import Kernels

struct ProductsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "products",
        abstract: "Time the matrix products of training: sgemm, and tiles in both precisions.",
        discussion: """
            All ways to multiply take turns on one thread, so that a drift of the machine is not mistaken for a \
            difference between them. LOCKSTEP_ISA caps the tile instructions; on a CPU that has none, \
            LOCKSTEP_ISA=emulated times their emulation, which shows that products are right, not how fast they are.

            Example:
              benchmarks products --model gpt2-124m --rounds 5
            """)

    @OptionGroup var options: BenchmarkOptions

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        let support = try TileSupport.here(environment: environment)
        let isEmulationAsked = environment["LOCKSTEP_ISA"] == TileInstructions.emulated.rawValue
        let isOfUse = support.instructions > .emulated || isEmulationAsked
        let modes: [TileMode] =
            isOfUse
            ? TilePrecision.allCases.map { .of($0, with: support.instructions, environment: environment) }
            : []
        let ceilings = Ceilings.measure(support.instructions)
        let timings = try TrainingProduct.all(of: options.model).map {
            try ProductTiming.measure($0, modes: modes, rounds: options.rounds)
        }
        try options.write(
            ProductsReport(tiles: support.description, ceilings: ceilings, products: timings)
        ) {
            """
            Tiles: \(support.description)
            \(ceilings.text)

            \(productsTables(timings, modes: modes))
            """
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
