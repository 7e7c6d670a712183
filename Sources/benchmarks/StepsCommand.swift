import ArgumentParser
import Configs
import Foundation
import Kernels
import MessagePassing
import Training

struct StepsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "steps",
        abstract: "Time whole training steps of a configuration, in several precisions in turn.",
        discussion: """
            On random tokens, without evaluation, checkpoints or ledger. Every rank holds a model for each precision.

            Example:
              mpirun -n 2 benchmarks steps configs/w1.yaml
              benchmarks steps configs/w1.yaml --precisions medium --steps 9 train.global_batch=16
            """)

    @Argument(help: "Configuration file.") var config: String
    @Argument(help: "key.path=value: replaces what the file says.") var overrides: [String] = []

    @Option(help: ArgumentHelp("Values of precision.matmul, such as highest,medium.", valueName: "LIST"))
    var precisions = "highest,medium"

    @Option(help: ArgumentHelp("Steps of each precision that count; one more before them.", valueName: "N"))
    var steps = 5

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func validate() throws {
        guard steps >= 1 else { throw ValidationError("--steps must be at least 1.") }
        _ = try parsedPrecisions()
    }

    private func parsedPrecisions() throws -> [PrecisionConfig.MatMulPrecision] {
        try precisions.split(separator: ",").map { name in
            guard let precision = PrecisionConfig.MatMulPrecision(rawValue: String(name)) else {
                throw ValidationError(
                    "--precisions \(precisions): expected a list of highest, high and medium.")
            }
            return precision
        }
    }

    func run() throws {
        let asked = try parsedPrecisions()
        try withRanks { world in
            let config = try world.collectively {
                try RunConfig.load(path: self.config, overrides: overrides)
            }
            let topology = try Topology(config.parallel.reduction, world: world)
            let team = try world.collectively { try ThreadTeam(threads: config.parallel.threadsPerRank) }
            var runs = try asked.map {
                try BenchmarkRun(config, precision: $0, topology: topology, team: team, on: world)
            }
            for step in 0...steps {
                for index in runs.indices { try runs[index].step(step + 1, counts: step > 0, on: world) }
            }
            guard world.rank == 0 else { return }
            let timings = runs.map(\.timing)
            let report = StepsReport(name: config.name, ranks: world.size, steps: steps, precisions: timings)
            try writeReport(report, asJSON: json) { table(report) }
        }
    }

    private func table(_ report: StepsReport) -> String {
        let header = [
            "precision", "products", "step ms", "forward", "backward", "reduction", "optimizer", "tokens/s",
            "GFLOP/s a rank",
        ]
        let lines = report.precisions.map { timing -> [String] in
            let s = timing.seconds
            return [timing.asked, timing.products]
                + [s.step, s.forward, s.backward, s.reduction, s.optimizer].map {
                    String(format: "%.1f", 1e3 * $0)
                }
                + [
                    String(format: "%.0f", timing.tokensPerSecond),
                    String(format: "%.0f", 1e-9 * timing.flopsPerSecond),
                ]
        }
        let ranks = "\(report.ranks) rank\(report.ranks == 1 ? "" : "s")"
        return "\(report.name), \(ranks), medians of \(report.steps) steps; executed FLOPs of the products\n"
            + BenchmarkTable.text([header] + lines, leftColumns: 2)
    }
}

private struct StepsReport: Encodable {
    let schemaVersion = 1
    let name: String
    let ranks: Int
    let steps: Int
    let precisions: [StepTiming]

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case name, ranks, steps, precisions
    }
}
