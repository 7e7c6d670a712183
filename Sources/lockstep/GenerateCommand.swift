import ArgumentParser
import Configs
import Foundation
import Training

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continue a text with a run's newest checkpoint.",
        discussion: """
            Example:
              lockstep generate runs/quickstart --prompt "In the beginning"
              lockstep generate runs/quickstart --prompt "And" --temperature 0.8 --top-k 40
            """)

    @Argument(help: ArgumentHelp("Run directory.", valueName: "run")) var directory: String
    // A prompt may begin with a dash, and a negative number shall be refused as what it is.
    @Option(parsing: .unconditional, help: "Text to continue.") var prompt: String
    @Option(parsing: .unconditional, help: "Number of tokens to generate.") var tokens = 400
    @Option(
        parsing: .unconditional, help: "0 always takes the most likely token; higher is more varied.")
    var temperature = 0.0
    @Option(parsing: .unconditional, help: "Choose among this many most likely tokens only.") var topK: Int?
    @Option(help: "The same seed gives the same text.") var seed: UInt64 = 1

    func validate() throws {
        guard tokens > 0 else { throw ValidationError("--tokens must be at least 1, not \(tokens)") }
        guard temperature >= 0, temperature.isFinite else {
            throw ValidationError("--temperature must be 0 or more, not \(temperature)")
        }
        if let topK, topK < 1 { throw ValidationError("--top-k must be at least 1, not \(topK)") }
        guard !prompt.isEmpty else { throw ValidationError("--prompt must hold at least one character") }
    }

    func run() throws {
        try generateText(
            run: directory, prompt: prompt, tokens: tokens, temperature: temperature, topK: topK, seed: seed
        ) { try StandardOutput.write($0) }
        try StandardOutput.write("\n")
    }
}
