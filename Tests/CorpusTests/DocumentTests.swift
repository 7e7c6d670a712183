import Configs
import Corpus
import Foundation
import Testing

@Suite struct DocumentTests {
    private func tokens(of shard: TokenShard) throws -> [UInt8] { try shard.all().map { UInt8($0) } }

    @Test(arguments: [1, 3]) func linesOfJSONAreDocuments(threads: Int) throws {
        let folder = try TemporaryFolder()
        // More than a piece, in lines of all lengths.
        let documents = (0..<60_000).map { String(repeating: "é\"\n\\ ", count: $0 % 11) + "\($0)" }
        let lines = try documents.map { text in
            String(decoding: try JSONEncoder().encode(["text": text]), as: UTF8.self) + "\n"
        }
        let path = try folder.write(lines.joined().utf8, to: "a.jsonl")
        let count = try TokenShard.encode(
            path: path, with: ByteTokenizer(), to: "\(folder.path)/a.bin", threads: threads)
        let expected = documents.map { $0 + "\n" }.joined()
        #expect(count == expected.utf8.count)
        #expect(try tokens(of: TokenShard(path: "\(folder.path)/a.bin")) == Array(expected.utf8))
    }

    @Test func splitsBeginWithLines() throws {
        let folder = try TemporaryFolder()
        let lines = (0..<100).map { "{\"text\": \"document \($0)\"}\n" }.joined()
        let data = DataConfig(path: try folder.write(lines.utf8, to: "a.jsonl"))
        let directory = "\(folder.path)/data"
        try PreparedCorpus.prepare(data: data, vocabSize: 256, contextLength: 8, directory: directory)
        let shards = try ["train", "validation"].map { try TokenShard(path: "\(directory)/\($0).bin") }
        let texts = try shards.map { String(decoding: try tokens(of: $0), as: UTF8.self) }
        #expect(texts.joined() == (0..<100).map { "document \($0)\n" }.joined())
        #expect(texts[1].hasPrefix("document 9"))
        let sampled = try #require(PreparedCorpus.tokenCount(data, contextLength: 8))
        #expect(abs(sampled - texts.joined().utf8.count) < 100)
    }

    @Test func documentsEndWithTheTokenThatSaysSo() throws {
        let folder = try TemporaryFolder()
        let fixture =
            URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path
            + "/Fixtures/tokenizer/trained.json"
        let tokenizer = try BytePairTokenizer(path: fixture)
        let path = try folder.write("{\"text\": \"the\"}\n{\"text\": \"er\"}".utf8, to: "a.jsonl")
        _ = try TokenShard.encode(path: path, with: tokenizer, to: "\(folder.path)/a.bin", threads: 1)
        let ids = try TokenShard(path: "\(folder.path)/a.bin").all()
        #expect(ids == tokenizer.encode("the") + [0] + tokenizer.encode("er") + [0])
    }

    @Test func badLinesAreNamed() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("{\"text\": \"a\"}\n\n{\"txt\": \"b\"}\n".utf8, to: "a.jsonl")
        let error = #expect(throws: LockstepError.self) {
            _ = try TokenShard.encode(
                path: path, with: ByteTokenizer(), to: "\(folder.path)/a.bin", threads: 2)
        }
        #expect(error?.status == .badData)
        #expect(error?.description.contains("a.jsonl, line 3") == true)
        #expect(try folder.contents == ["a.jsonl"])
    }

    /// nanoGPT's tokens without a header are read only when the configuration says so, and written when asked.
    @Test func bareTokens() throws {
        let folder = try TemporaryFolder()
        let text = try folder.write((0..<200).map { UInt8($0) }, to: "a.txt")
        let path = "\(folder.path)/a.bin"
        _ = try TokenShard.encode(path: text, with: ByteTokenizer(), to: path, layout: .bare, threads: 1)
        #expect(try Data(contentsOf: URL(filePath: path)).count == 400)
        var data = DataConfig(path: path)
        let error = #expect(throws: LockstepError.self) {
            try PreparedCorpus.prepare(data: data, vocabSize: 256, contextLength: 8, directory: folder.path)
        }
        #expect(error?.description.contains("data.format uint16") == true)
        data.format = .uint16
        try PreparedCorpus.prepare(data: data, vocabSize: 256, contextLength: 8, directory: folder.path)
        let corpus = try PreparedCorpus.open(data: data, contextLength: 8, seed: 1, directory: folder.path)
        #expect(corpus.tokenCount == 200)
        _ = try folder.write([1, 2, 3], to: "a.bin")
        let odd = #expect(throws: LockstepError.self) { _ = try TokenShard(path: path, layout: .bare) }
        #expect(odd?.description.contains("3 bytes") == true)
    }
}
