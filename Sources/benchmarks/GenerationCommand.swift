import ArgumentParser
import Configs
import Foundation
import Training
import Transformer

/// Measures generation, for a comparison with another program.
struct GenerationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generation",
        abstract: "Continue prompts of token ids greedily with a Hugging Face model, and time it.",
        discussion: """
            Prompts, a line of decimal numbers each, come on standard input; the answer is JSON: the tokens of each, the
            seconds of the prompts and of the steps behind them, once for each round.

            Example:
              echo 72 105 | benchmarks generation models/gpt2 --tokens 32 --threads 2
            """)

    @Argument(help: "Folder with config.json and model.safetensors.") var folder: String
    @Option(help: "Tokens behind each prompt.") var tokens = 32
    @Option(help: "Threads.") var threads = 1
    @Flag(name: .customLong("bf16"), help: "Read weights rounded to bf16.") var isRounded = false
    @Option(
        help: "Tokens that are proposed at once, of one prompt only; by default as lockstep generate does.")
    var drafts: Int?
    @Option(help: "How often.") var rounds = 1

    func validate() throws {
        guard (1...1 << 20).contains(tokens), (1...4096).contains(threads), rounds >= 1 else {
            throw ValidationError("--tokens, --threads and --rounds must be at least 1")
        }
        guard (0...CachedDecoder.mostDrafts).contains(drafts ?? 0) else {
            throw ValidationError("--drafts must be from 0 to \(CachedDecoder.mostDrafts)")
        }
    }

    func run() throws {
        var prompts: [[Int32]] = []
        while let line = readLine() {
            let words = line.split(whereSeparator: \.isWhitespace)
            prompts.append(words.compactMap { Int32($0) })
            guard prompts[prompts.count - 1].count == words.count, !words.isEmpty else {
                throw LockstepError(
                    .usage, "line \(prompts.count) of standard input: expected decimal numbers")
            }
        }
        guard prompts.count == 1 || (drafts ?? 0) == 0 else {
            throw LockstepError(.usage, "--drafts: expected one prompt, not \(prompts.count)")
        }
        let report = try timeGeneration(
            ofModel: folder, prompts: prompts, tokens: tokens, threads: threads, isRounded: isRounded,
            drafts: drafts, rounds: rounds)
        try writeReport(report, asJSON: true) { "" }
    }
}
