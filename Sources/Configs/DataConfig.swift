/// Where the tokens come from.
public struct DataConfig: Sendable, Equatable {
    public enum Tokenizer: Sendable, Equatable {
        /// A token a byte.
        case bytes
        /// A Hugging Face `tokenizer.json`; relative to the working directory.
        case file(String)

        /// As it is written in a configuration.
        public var name: String {
            switch self {
            case .bytes: "bytes"
            case .file(let path): path
            }
        }
    }
    /// What the model learns.
    public enum Task: String, Sendable, CaseIterable {
        /// To go on with a text.
        case language
        /// To give the target of a source, of pairs from a file.
        case pairs
        /// The same of pairs that are drawn at random: the source itself, backwards, in order, or the sum of two numbers.
        case copy, reverse, sort, addition
        /// To go on with letters that are drawn uniformly, whose entropy no model's loss can be below.
        case uniform
        /// To go on with a text from a file, in whose training split random lines are hidden several times each, so that it
        /// can be measured which a model has learned by heart (Carlini et al. 2019).
        case canaries

        public var hasPairs: Bool {
            switch self {
            case .language, .uniform, .canaries: false
            case .pairs, .copy, .reverse, .sort, .addition: true
            }
        }
        /// Whether there is no file.
        public var isGenerated: Bool { self == .uniform || (hasPairs && self != .pairs) }
    }
    /// How the file at `path` is written.
    public enum Format: String, Sendable, CaseIterable {
        /// By the end of its name: `.bin` is `shard`, `.jsonl` is `jsonl`, `.tsv` is `tsv`, anything else `text`.
        case auto
        case text
        /// A JSON object a line: `{"text": …}`, or `{"source": …, "target": …}` for pairs.
        case jsonl
        /// A pair a line, with a tab between source and target.
        case tsv
        /// llm.c's token shard.
        case shard
        /// Tokens of 16 bits without a header, nanoGPT's `train.bin`.
        case uint16
    }

    /// How a text becomes sequences.
    public enum Packing: String, Sendable, CaseIterable {
        /// Cut into contexts wherever they end; a document may begin anywhere in one.
        case stream
        /// Each document of JSON lines, or line of a text, is a sequence of its own, filled up with padding that is neither
        /// looked at nor predicted; those longer than the context become several.
        case documents
    }

    public var task = Task.language
    /// Relative to the working directory; empty for data that is generated.
    public var path: String
    public var format = Format.auto
    public var tokenizer = Tokenizer.bytes
    public var packing = Packing.stream
    /// The token that stands for masked ones (family encoder). By default (nil) the last one of the vocabulary.
    public var maskToken: Int?
    /// Whether a pair that is longer than the context is cut: its source, then its target, or of an encoder–decoder each to its
    /// own length. Otherwise it is an error.
    public var truncate = false
    /// Of data that is generated.
    public var generated = GeneratedConfig()
    /// Share of the corpus, taken from its end, that is kept for validation, in (0, 1).
    public var validationFraction = 0.05

    public init(path: String) {
        self.path = path
    }

    /// What the file is, when its name has said so.
    public var resolvedFormat: Format {
        guard format == .auto else { return format }
        return switch path.split(separator: ".").last {
        case "bin": .shard
        case "jsonl": .jsonl
        case "tsv": .tsv
        default: .text
        }
    }
}

/// Data that is drawn at random.
public struct GeneratedConfig: Sendable, Equatable {
    /// Pairs of both splits.
    public var samples = 100_000
    /// Letters of a source, for copy, reverse and sort.
    public var minLength = 1
    public var maxLength = 16
    /// Different letters, from a on, of all but addition.
    public var symbols = 26
    /// Most digits of a number, for addition.
    public var digits = 3
    /// Letters of both splits, for uniform.
    public var characters = 1_000_000
    /// Different canaries for each number of copies, and the letters of one.
    public var canaries = 10
    public var canaryLength = 32
    /// How often the training split has a canary; 0 are for comparison.
    public var canaryCopies = [0, 1, 4, 16, 64]
    public var seed: UInt64 = 1

    public init() {}
}
