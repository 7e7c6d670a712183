import ArgumentParser
import Configs
import Foundation
import Training

/// Shows what a model answers, for a comparison with another program.
struct LogitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logits",
        abstract: "Write the logits of a Hugging Face model for the tokens on standard input.",
        discussion: """
            The tokens are decimal numbers between spaces, of an encoder-decoder in two lines, a source and the beginning of a
            target; the logits, fp32 without a header, a row of the vocabulary's length for each, go to standard output.

            Example:
              echo 72 105 | benchmarks logits models/gpt2 > logits.f32
            """)

    @Argument(help: "Folder with config.json and model.safetensors.") var folder: String

    func run() throws {
        let lines = try String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self)
            .split(separator: "\n").map { line in
                let words = line.split(whereSeparator: \.isWhitespace)
                let tokens = words.compactMap { Int32($0) }
                guard tokens.count == words.count else {
                    throw LockstepError(.usage, "standard input: expected decimal numbers between spaces")
                }
                return tokens
            }
        let answer = try logits(
            ofModel: folder, tokens: lines.last ?? [], source: lines.count > 1 ? lines[0] : [])
        FileHandle.standardOutput.write(Data(answer))
    }
}
