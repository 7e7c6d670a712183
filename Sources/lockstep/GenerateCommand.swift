import ArgumentParser
import Configs
import Cost
import Foundation
import Ledger
import Training
import Transformer

struct GenerateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate",
        abstract: "Continue texts with a checkpoint of a run.",
        discussion: """
            One text is shown as it comes; several are generated together and shown one after the other.

            Example:
              lockstep generate runs/quickstart --prompt "In the beginning"
              lockstep generate runs/reverse-words --prompt lockstep --beams 4
              lockstep generate runs/quickstart --prompt "And" --temperature 0.8 --top-p 0.9 --stop .
              lockstep generate runs/quickstart --prompt "And" --prompt "But" --tokens 50
              lockstep generate runs/quickstart --prompt "And" --verify
            """)

    @Argument(help: ArgumentHelp("Run directory.", valueName: "run")) var directory: String
    // A prompt may begin with a dash, and a negative number shall be refused as what it is.
    @Option(
        name: .customLong("prompt"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp("Text to continue; more than one with more of these.", valueName: "text"))
    var prompts: [String]
    @OptionGroup var checkpoint: CheckpointOptions
    @Option(parsing: .unconditional, help: "Number of tokens to generate.") var tokens = 400
    @Option(
        parsing: .unconditional, help: "0 always takes the most likely token; higher is more varied.")
    var temperature = 0.0
    @Option(parsing: .unconditional, help: "Choose among this many most likely tokens only.") var topK: Int?
    @Option(
        parsing: .unconditional,
        help: "Choose among the fewest most likely tokens that together have this probability.")
    var topP: Double?
    @Option(parsing: .unconditional, help: "Search for a likely text with this many hypotheses.")
    var beams: Int?
    @Option(
        name: .customLong("stop"), parsing: .unconditionalSingleValue,
        help: ArgumentHelp("End a text before this; more than one with more of these.", valueName: "text"))
    var stops: [String] = []
    @Flag(help: "Take the end of a prompt that is longer than the model's context.") var truncate = false
    @Option(parsing: .unconditional, help: "Threads; by default as many as a rank of the run had.")
    var threads: Int?
    @Flag(
        name: .customLong("bf16"),
        help: "Read weights rounded to bf16, half as many bytes: faster, with slightly other probabilities.")
    var rounds = false
    @OptionGroup var draft: DraftOption
    @Option(help: "The same seed gives the same text.") var seed: UInt64 = 1
    @Flag(
        help: """
            Generate twice, and set memory and time of the second time beside their estimate. Ends with code 1 when a term \
            misses its tolerance.
            """)
    var verify = false
    @Flag(help: "With --verify, print its JSON and nothing else.") var json = false
    @OptionGroup var profileOptions: ProfileOptions

    func validate() throws {
        guard (1...1 << 30).contains(tokens) else {
            throw ValidationError("--tokens must be at least 1 and at most \(1 << 30), not \(tokens)")
        }
        guard temperature >= 0, temperature.isFinite else {
            throw ValidationError("--temperature must be 0 or more, not \(temperature)")
        }
        if let topK, topK < 1 { throw ValidationError("--top-k must be at least 1, not \(topK)") }
        if let topP, !(topP > 0 && topP <= 1) {
            throw ValidationError("--top-p must be above 0 and at most 1, not \(topP)")
        }
        if let threads, !(1...4096).contains(threads) {
            throw ValidationError("--threads must be from 1 to 4096, not \(threads)")
        }
        try draft.validate(isOneText: prompts.count <= 1 && beams == nil)
        guard !prompts.isEmpty else { throw ValidationError("a text to continue is missing: --prompt") }
        guard prompts.count <= 4096, prompts.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError(
                "--prompt must hold at least one character, and there are at most 4096 of them")
        }
        guard stops.allSatisfy({ !$0.isEmpty }) else {
            throw ValidationError("--stop must hold at least one character")
        }
        guard verify || !json else { throw ValidationError("--json goes with --verify") }
        guard !verify || (stops.isEmpty && beams == nil) else {
            throw ValidationError(
                "--verify compares texts of a known length; it goes without --stop and --beams")
        }
        guard let beams else { return }
        guard (1...4096).contains(beams) else {
            throw ValidationError("--beams must be from 1 to 4096, not \(beams)")
        }
        guard temperature == 0, topK == nil, topP == nil, prompts.count == 1 else {
            throw ValidationError(
                "--beams searches for one likely text; it goes without --temperature, --top-k, --top-p and a second --prompt"
            )
        }
    }

    func run() throws {
        var options = GenerationOptions(
            prompts: prompts, tokens: tokens,
            sampling: Sampling(temperature: temperature, topK: topK, topP: topP, seed: seed))
        (options.checkpoint, options.beams, options.stops) = (checkpoint.choice, beams, stops)
        (options.truncates, options.threads, options.rounds) = (truncate, threads, rounds)
        (options.drafts, options.warmsUp) = (draft.tokens, verify)
        let record: GenerationRecord
        if json {
            record = try generateText(run: directory, options) { _, _ in true }
        } else if prompts.count == 1 {
            record = try generateText(run: directory, options) { _, text in try StandardOutput.write(text) }
            try StandardOutput.write("\n")
        } else {
            var texts = [[UInt8]](repeating: [], count: prompts.count)
            record = try generateText(run: directory, options) { number, text in
                texts[number] += text
                return true
            }
            for text in texts where try !StandardOutput.write(text + Array("\n".utf8)) { return }
        }
        if verify { try report(record) }
    }

    private func report(_ record: GenerationRecord) throws {
        let (model, profile) = (record.config.model, try profileOptions.load(speaks: !json))
        let estimate = try InferenceEstimate(
            model, record.shape, prompts: record.promptTokens, sources: record.sourceTokens, profile: profile)
        let drift = try profile?.inferenceReferences(model, estimate)
            .flatMap { try generationDrift(record, from: $0) }
        let verification = Verification(of: estimate, record.measured, drift: drift)
        if json {
            _ = try StandardOutput.write(JSONFile.bytes(of: verification))
        } else {
            let table = VerificationTable(verification, terminal: Terminal(descriptor: STDOUT_FILENO))
            try StandardOutput.write("\n" + table.text())
        }
        if !verification.misses.isEmpty { throw ExitCode(ExitStatus.verificationFailed.rawValue) }
    }
}
