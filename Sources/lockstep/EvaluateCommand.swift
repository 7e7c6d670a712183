import ArgumentParser
import Foundation
import MessagePassing
import Training

struct EvaluateCommand: RankCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract:
            "Measure a checkpoint's loss on its run's validation split, and its exact matches of pairs.",
        discussion: """
            Example:
              lockstep evaluate runs/quickstart
              lockstep evaluate runs/quickstart --best
              mpirun -n 2 lockstep evaluate runs/quickstart --json
            """)

    @Argument(help: ArgumentHelp("Run directory.", valueName: "run")) var directory: String
    @OptionGroup var checkpoint: CheckpointOptions
    @Flag(help: "Print JSON and nothing else.") var json = false

    func run() throws {
        try withWorld { world in
            let evaluation = try evaluateRun(directory, checkpoint.choice, on: world)
            guard world.rank == 0 else { return }
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                encoder.keyEncodingStrategy = .convertToSnakeCase
                _ = try StandardOutput.write(encoder.encode(evaluation) + Data("\n".utf8))
            } else {
                try StandardOutput.write(evaluation.text)
            }
        }
    }
}
