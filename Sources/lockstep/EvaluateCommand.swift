import ArgumentParser
import Foundation
import MessagePassing
import Training

struct EvaluateCommand: RankCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Measure the loss of a run's newest checkpoint on its validation split.",
        discussion: """
            Example:
              lockstep evaluate runs/quickstart
              mpirun -n 2 lockstep evaluate runs/quickstart --json
            """)

    @Argument(help: ArgumentHelp("Run directory.", valueName: "run")) var directory: String
    @Flag(help: "Print JSON and nothing else.") var json = false

    func run() throws {
        try withWorld { world in
            let evaluation = try evaluateRun(directory, on: world)
            guard world.rank == 0 else { return }
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
                encoder.keyEncodingStrategy = .convertToSnakeCase
                _ = try StandardOutput.write(encoder.encode(evaluation) + Data("\n".utf8))
            } else {
                try StandardOutput.write(
                    String(
                        format:
                            "validation loss %.4f nats per token (perplexity %.3f) over %ld tokens, step %ld\n",
                        evaluation.validationLoss, evaluation.perplexity, evaluation.tokens, evaluation.step))
            }
        }
    }
}
