import ArgumentParser
import Configs
import Corpus
import MessagePassing
import Training

struct TokenizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenize",
        abstract: "Encode a text, or JSON lines of documents, into a token shard.",
        discussion: """
            The shard is one of karpathy/llm.c's (.bin), which data.path takes; above 65,536 ids it has 32 bits a token.

            Example:
              lockstep data tokenize data/kjv.txt --tokenizer data/kjv-bpe/tokenizer.json --out data/kjv.bin
            """)

    @Argument(help: "Text file, or .jsonl of documents, {\"text\": …}.") var text: String
    @Option(help: "bytes, or a Hugging Face tokenizer.json.") var tokenizer: DataConfig.Tokenizer = .bytes
    @Option(help: ArgumentHelp("The shard; its name ends in .bin.", valueName: "file")) var out: String
    @Flag(help: "Write tokens of 16 bits without a header, as nanoGPT does (data.format: uint16).")
    var bare = false
    @OptionGroup var threads: ThreadOptions

    func validate() throws {
        guard out.hasSuffix(".bin") else {
            throw ValidationError("--out must end in .bin, as data.path knows shards by it, not \(out)")
        }
    }

    func run() throws {
        var progress = ShareProgress(text, done: "encoded", reports: true)
        let count = try TokenShard.encode(
            path: text, with: tokenizer.makeTokenizer(), to: out, layout: bare ? .bare : .header,
            threads: threads.count
        ) { progress.note($0) }
        try StandardOutput.write("\(out): \(count) tokens\n")
    }
}

extension DataConfig.Tokenizer: ExpressibleByArgument {
    public init?(argument: String) {
        self = argument == "bytes" ? .bytes : .file(argument)
    }

    public var defaultValueDescription: String { name }
}
