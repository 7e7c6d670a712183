import Configs
import Corpus
import Foundation
import Testing

@Suite struct PreparedCorpusTests {
    private func data(_ path: String, validation: Double = 0.1) -> DataConfig {
        var data = DataConfig(path: path)
        data.validationFraction = validation
        return data
    }

    private func failure(
        _ data: DataConfig, vocabSize: Int = 256, contextLength: Int = 8, directory: String
    ) -> LockstepError? {
        #expect(throws: LockstepError.self) {
            try PreparedCorpus.prepare(
                data: data, vocabSize: vocabSize, contextLength: contextLength, directory: directory)
        }
    }

    /// The split as the samples show it: the inputs of all samples in order, then the last target.
    private func tokens(of source: BatchSource) throws -> [Int32] {
        let elements = source.sampleCount * source.contextLength
        var inputs = [Int32](repeating: 0, count: elements)
        var targets = inputs
        try source.fill(inputs: &inputs, targets: &targets, firstPosition: 0, sequences: source.sampleCount)
        return inputs + [targets[elements - 1]]
    }

    private func tokens(ofShard path: String) throws -> [Int32] {
        try TokenShard(path: path).all()
    }

    @Test func textGoesToShardsAndBack() throws {
        let folder = try TemporaryFolder()
        // Longer than the pieces that are encoded at a time, with every byte value and with invalid UTF-8.
        let text = (0..<2_500_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
        let path = try folder.write(text, to: "text.txt")
        let directory = "\(folder.path)/run/data"
        try PreparedCorpus.prepare(
            data: data(path, validation: 0.03), vocabSize: 256, contextLength: 64, directory: directory)

        let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        #expect(names == ["train.bin", "validation.bin"])
        let train = try tokens(ofShard: "\(directory)/train.bin")
        let validation = try tokens(ofShard: "\(directory)/validation.bin")
        #expect(train.count == 2_425_000)
        #expect(validation.count == 75_000)
        #expect(ByteTokenizer().decode(train + validation) == text)

        let corpus = try PreparedCorpus.open(
            data: data(path, validation: 0.03), contextLength: 64, seed: 1, directory: directory)
        #expect(corpus.train.sampleCount == 2_424_999 / 64)
        #expect(corpus.validation.sampleCount == 74_999 / 64)
        #expect(try tokens(of: corpus.validation) == Array(validation[...(74_999 / 64 * 64)]))
    }

    @Test func shardIsSplitWhereItLies() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(shardBytes(tokens: Array(1000..<1100)), to: "corpus.bin")
        let directory = "\(folder.path)/run/data"
        let data = data(path, validation: 0.25)
        try PreparedCorpus.prepare(data: data, vocabSize: 1100, contextLength: 8, directory: directory)
        #expect(try folder.contents == ["corpus.bin"])

        let corpus = try PreparedCorpus.open(data: data, contextLength: 8, seed: 1, directory: directory)
        #expect(corpus.train.sampleCount == 9)
        #expect(corpus.validation.sampleCount == 3)
        #expect(try tokens(of: corpus.validation) == Array(1075..<1100))
    }

    @Test func trainingNeverSeesTheValidationSplit() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(shardBytes(tokens: Array(0..<1000)), to: "corpus.bin")
        let corpus = try PreparedCorpus.open(
            data: data(path), contextLength: 10, seed: 1, directory: folder.path)
        #expect(try tokens(of: corpus.train).max()! < 900)
    }

    @Test func shortestCorpusThatFits() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(Array(repeating: 65, count: 18), to: "text.txt")
        try PreparedCorpus.prepare(
            data: data(path, validation: 0.5), vocabSize: 256, contextLength: 8, directory: folder.path)
        let corpus = try PreparedCorpus.open(
            data: data(path, validation: 0.5), contextLength: 8, seed: 1, directory: folder.path)
        #expect(corpus.train.sampleCount == 1 && corpus.validation.sampleCount == 1)
    }

    @Test func tooShortForTheContextIsRefusedBeforeAnythingIsWritten() throws {
        let folder = try TemporaryFolder()
        let text = try folder.write(Array(repeating: 65, count: 100), to: "text.txt")
        let shard = try folder.write(shardBytes(tokens: Array(0..<100)), to: "corpus.bin")
        for path in [text, shard] {
            let validation = failure(data(path), contextLength: 10, directory: "\(folder.path)/run")
            #expect(validation?.status == .badConfiguration)
            for text in [path, "validation split has 10 tokens", "11", "model.context_length", "raise"] {
                #expect(validation?.description.contains(text) == true, "\(text)")
            }
            let train = failure(
                data(path, validation: 0.95), contextLength: 5, directory: "\(folder.path)/run")
            #expect(train?.description.contains("train split has 5 tokens") == true)
            #expect(train?.description.contains("lower data.validation_fraction") == true)
        }
        #expect(try folder.contents == ["corpus.bin", "text.txt"])
    }

    @Test func badInputsAreRefusedBeforeAnythingIsWritten() throws {
        let folder = try TemporaryFolder()
        let run = "\(folder.path)/run/data"
        let text = try folder.write(Array(repeating: 65, count: 1000), to: "text.txt")
        let shard = try folder.write(shardBytes(tokens: Array(0..<1000)), to: "corpus.bin")
        let empty = try folder.write([], to: "empty.txt")
        let textAsShard = try folder.write("plain text".utf8, to: "text.bin")
        let before = try folder.contents

        #expect(failure(data("\(folder.path)/none.txt"), directory: run)?.status == .inputMissing)
        #expect(failure(data(empty), directory: run)?.status == .badData)
        #expect(failure(data(folder.path), directory: run)?.status == .badData)
        #expect(failure(data(textAsShard), directory: run)?.status == .badData)
        let small = failure(data(text), vocabSize: 255, directory: run)
        #expect(small?.status == .badConfiguration)
        #expect(small?.description.contains("model.vocab_size is 255") == true)
        let outside = failure(data(shard), vocabSize: 700, directory: run)
        #expect(outside?.status == .badData)
        #expect(outside?.description.contains("token 700") == true)
        #expect(try folder.contents == before)
    }

    @Test func unwritableDirectory() throws {
        let folder = try TemporaryFolder()
        let text = try folder.write(Array(repeating: 65, count: 1000), to: "text.txt")
        for directory in ["/proc/run/data", "\(text)/data"] {
            #expect(failure(data(text), directory: directory)?.status == .cannotCreate)
        }
    }

    @Test func openingWhatWasNeverPrepared() throws {
        let folder = try TemporaryFolder()
        let text = try folder.write(Array(repeating: 65, count: 1000), to: "text.txt")
        let error = #expect(throws: LockstepError.self) {
            _ = try PreparedCorpus.open(
                data: data(text), contextLength: 8, seed: 1, directory: "\(folder.path)/run")
        }
        #expect(error?.status == .inputMissing)
    }
}

@Suite struct ByteTokenizerTests {
    private let tokenizer = ByteTokenizer()

    @Test func textRoundTrip() {
        for text in ["", "In the beginning", "naïve — 日本語 🎼\n\0"] {
            let tokens = tokenizer.encode(text)
            #expect(tokens.count == text.utf8.count)
            #expect(tokens.allSatisfy { (0..<Int32(tokenizer.vocabSize)).contains($0) })
            #expect(tokenizer.decode(tokens) == Array(text.utf8))
        }
    }

    @Test func unknownTokenBecomesTheReplacementCharacter() {
        #expect(
            String(decoding: tokenizer.decode([72, 256, -1, 105]), as: UTF8.self) == "H\u{FFFD}\u{FFFD}i")
    }
}
