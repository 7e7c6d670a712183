import Configs
import Corpus
import Foundation

extension FuzzTarget {
    private static let contextLength = 4
    private static let vocabSize = 300

    /// A text: every byte becomes a token, those of the two splits one after the other.
    static func corpus(_ scratch: Scratch) -> Parser {
        { bytes in
            let corpus = try prepared(scratch.write(bytes, to: "corpus.txt"), scratch)
            let shards = try ["train", "validation"].map {
                try TokenShard(path: "\(scratch.path)/data/\($0).bin")
            }
            let tokens = try shards.flatMap { shard in
                var tokens = [Int32](repeating: -1, count: shard.count)
                try shard.copy(0..<shard.count, to: &tokens)
                return tokens.map { UInt8($0) }
            }
            guard tokens == bytes, corpus.tokenCount == bytes.count else {
                throw Breach("\(bytes.count) bytes became \(tokens.count) other tokens")
            }
        }
    }

    /// A token shard, all of whose samples are read.
    static func shard(_ scratch: Scratch) -> Parser {
        return { bytes in try readSamples(of: prepared(scratch.write(bytes, to: "tokens.bin"), scratch)) }
    }

    /// Documents or pairs, a line each, all of whose samples are read.
    static func samples(_ name: String, _ task: DataConfig.Task, _ scratch: Scratch) -> Parser {
        { bytes in
            let path = try scratch.write(bytes, to: name)
            try readSamples(
                of: prepared(path, scratch, task, contextLength: task.hasPairs ? 32 : contextLength))
        }
    }

    private static func readSamples(of corpus: PreparedCorpus) throws {
        for source in [corpus.train, corpus.validation] {
            var inputs = [Int32](repeating: -1, count: source.contextLength)
            var targets = inputs
            for position in 0..<source.sampleCount {
                try source.fill(inputs: &inputs, targets: &targets, firstPosition: position, sequences: 1)
                guard inputs.allSatisfy({ (0..<Int32(vocabSize)).contains($0) }),
                    targets.allSatisfy({ (PairBatch.noTarget..<Int32(vocabSize)).contains($0) })
                else { throw Breach("tokens outside of the vocabulary: \(inputs), \(targets)") }
            }
        }
    }

    /// A tokenizer, with which texts are encoded and decoded, the file itself among them.
    static func tokenizer(_ scratch: Scratch) -> Parser {
        { bytes in
            let tokenizer = try BytePairTokenizer(path: scratch.write(bytes, to: "tokenizer.json"))
            // Added tokens may take white space with them.
            let texts = [
                Array("the theness'll <|x|>神 🎼\n  \u{3000}a\u{0}".utf8), [0xFF, 0xE2, 0x82, 0x41], bytes,
            ]
            for text in texts {
                let tokens = text.withUnsafeBytes { tokenizer.encode($0) }
                guard tokens.allSatisfy({ (0..<Int32(tokenizer.vocabSize)).contains($0) }) else {
                    throw Breach("tokens outside of the vocabulary: \(tokens)")
                }
                _ = tokenizer.decode(tokens)
            }
        }
    }

    private static func prepared(
        _ path: String, _ scratch: Scratch, _ task: DataConfig.Task = .language,
        contextLength: Int = contextLength
    ) throws -> PreparedCorpus {
        var data = DataConfig(path: path)
        data.task = task
        data.validationFraction = 0.25
        let folder = scratch.path + "/data"
        try PreparedCorpus.prepare(
            data: data, vocabSize: vocabSize, contextLength: contextLength, directory: folder)
        return try PreparedCorpus.open(data: data, contextLength: contextLength, seed: 1, directory: folder)
    }
}
