import ArgumentParser

struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Make tokenizers and token shards.",
        discussion: """
            Example:
              lockstep data train-tokenizer data/kjv.txt --vocab-size 4096 --out data/kjv-bpe
              lockstep data tokenize data/kjv.txt --tokenizer data/kjv-bpe/tokenizer.json --out data/kjv.bin
            """,
        subcommands: [TrainTokenizerCommand.self, TokenizeCommand.self])
}
