import ArgumentParser
import Configs
import Corpus
import Foundation
import MessagePassing

struct TrainTokenizerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train-tokenizer",
        abstract: "Learn a byte-level BPE from a text.",
        discussion: """
            Writes tokenizer.json and tokenizer_config.json, which data.tokenizer and Hugging Face's AutoTokenizer take.

            Example:
              lockstep data train-tokenizer data/kjv.txt --vocab-size 4096 --out data/kjv-bpe
            """)

    @Argument(help: "Text file.") var text: String
    @Option(parsing: .unconditional, help: "Tokens of the vocabulary, special ones and 256 bytes included.")
    var vocabSize: Int
    @Option(help: ArgumentHelp("Folder for the files.", valueName: "dir")) var out: String
    @Option(
        parsing: .unconditionalSingleValue,
        help: "A token with an id of its own wherever it stands in a text; may be given more than once.")
    var special = ["<|endoftext|>"]
    @Option(parsing: .unconditional, help: "Least number of times that a pair must come to be a token.")
    var minFrequency = 2
    @OptionGroup var threads: ThreadOptions

    func validate() throws {
        let trainer = trainer
        guard (trainer.leastVocabSize...BytePairTrainer.mostVocabSize).contains(vocabSize) else {
            throw ValidationError(
                "--vocab-size must be from \(trainer.leastVocabSize) (\(special.count) special tokens and 256 bytes) to "
                    + "\(BytePairTrainer.mostVocabSize), not \(vocabSize)")
        }
        guard minFrequency >= 1 else {
            throw ValidationError("--min-frequency must be at least 1, not \(minFrequency)")
        }
        guard Set(special).count == special.count, !special.contains("") else {
            throw ValidationError("--special must be different texts, none of them empty")
        }
    }

    private var trainer: BytePairTrainer {
        BytePairTrainer(vocabSize: vocabSize, specialTokens: special, minFrequency: minFrequency)
    }

    func run() throws {
        let vocabulary = try trainer.train(path: text, threads: threads.count)
        let path = try vocabulary.write(to: out)
        if vocabulary.vocabSize < vocabSize {
            reportToStandardError(
                "lockstep: warning: the text has no more pairs that come \(minFrequency) times: \(vocabulary.vocabSize) "
                    + "tokens instead of \(vocabSize)")
        }
        try StandardOutput.write("\(path): \(vocabulary.vocabSize) tokens\n")
    }
}

/// How many threads a command computes with.
struct ThreadOptions: ParsableArguments {
    @Option(
        name: .customLong("threads"), parsing: .unconditional, help: "Threads; every processor by default.")
    var chosen: Int?

    var count: Int { chosen ?? ProcessInfo.processInfo.activeProcessorCount }

    func validate() throws {
        if let chosen, !(1...4096).contains(chosen) {
            throw ValidationError("--threads must be from 1 to 4096, not \(chosen)")
        }
    }
}
