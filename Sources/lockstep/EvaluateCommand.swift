import ArgumentParser
import Foundation
import MessagePassing
import Training

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate",
        abstract: "Measure the loss of a run's newest checkpoint on its validation split.",
        discussion: """
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
                print(String(decoding: try encoder.encode(evaluation), as: UTF8.self))
            } else {
                print(
                    String(
                        format:
                            "validation loss %.4f nats per token (perplexity %.3f) over %ld tokens, step %ld",
                        evaluation.validationLoss, evaluation.perplexity, evaluation.tokens, evaluation.step))
            }
        }
    }
}
