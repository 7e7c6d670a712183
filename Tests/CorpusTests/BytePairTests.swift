import Configs
import Corpus
import Foundation
import Testing

/// What Hugging Face's `tokenizers` say, made by Tests/Fixtures/make-tokenizer-fixtures.py.
private struct Fixtures: Sendable {
    struct Case: Decodable {
        let text: String
        let ids: [Int32]
    }

    static let names = ["trained", "prefixed", "whole"]
    static let committed = Fixtures(
        folder: URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path
            + "/Fixtures/tokenizer")
    /// Many strings, if the environment names a folder of them.
    static let many = ProcessInfo.processInfo.environment["LOCKSTEP_STRINGS"].map { Fixtures(folder: $0) }

    let folder: String

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    func cases(_ name: String) throws -> [Case] {
        let data = try Data(contentsOf: URL(filePath: path("\(name).strings.json")))
        return try JSONDecoder().decode([Case].self, from: data)
    }

    func compare(_ name: String) throws {
        let tokenizer = try BytePairTokenizer(path: path("\(name).json"))
        let cases = try cases(name)
        #expect(cases.count > 200)
        for (number, item) in cases.enumerated() {
            let tokens = tokenizer.encode(item.text)
            guard tokens == item.ids else {
                Issue.record(
                    "\(name), string \(number), \(item.text.debugDescription): \(tokens), not \(item.ids)")
                return
            }
        }
    }
}

@Suite struct BytePairTests {
    private let fixtures = Fixtures.committed

    @Test(arguments: Fixtures.names) func idsAreThoseOfHuggingFace(name: String) throws {
        try fixtures.compare(name)
    }

    @Test(.enabled(if: Fixtures.many != nil), arguments: Fixtures.names)
    func manyIdsAreThoseOfHuggingFace(name: String) throws { try Fixtures.many?.compare(name) }

    @Test func tokensDecodeToTheText() throws {
        let tokenizer = try BytePairTokenizer(path: fixtures.path("trained.json"))
        for item in try fixtures.cases("trained") {
            #expect(tokenizer.decode(item.ids) == Array(item.text.utf8))
        }
        #expect(tokenizer.decode([0]) == Array("<|endoftext|>".utf8))
        #expect(tokenizer.decode([-1, 700]) == Array("\u{FFFD}\u{FFFD}".utf8))
    }

    /// Every byte alone, cut-off scalars, overlong forms, surrogates.
    @Test func bytesThatAreNoUTF8ComeBack() throws {
        let tokenizer = try BytePairTokenizer(path: fixtures.path("trained.json"))
        var texts: [[UInt8]] = (0...255).map { [UInt8($0)] }
        texts += [
            [0xE2, 0x82], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
            Array("神".utf8.dropLast()),
            Array("a 神".utf8) + [0xFF, 0x20, 0x80, 0x80, 0x41],
        ]
        texts.append((0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 9) })
        for text in texts {
            let tokens = text.withUnsafeBytes { tokenizer.encode($0) }
            #expect(tokenizer.decode(tokens) == text)
        }
    }

    /// Both ways of merging a word do the same.
    @Test func longWordsMergeAsShortOnesDo() throws {
        let tokenizer = try BytePairTokenizer(path: fixtures.path("trained.json"))
        var long = 0
        for item in try fixtures.cases("trained") {
            let text = Array(item.text.utf8)
            text.withUnsafeBytes { text in
                var words = WordSplitter(text)
                while let range = words.next() {
                    let word = UnsafeRawBufferPointer(rebasing: text[range])
                    let encoder = BytePairEncoder(tokenizer)
                    #expect(
                        encoder.tokens(of: word, byQueue: true) == encoder.tokens(of: word, byQueue: false))
                    if word.count > BytePairEncoder.longestScanned { long += 1 }
                }
            }
        }
        #expect(long > 10)
    }

    /// A text of several pieces, whatever the number of threads, has the tokens of the whole.
    @Test(arguments: [1, 3]) func piecesHaveTheTokensOfTheWhole(threads: Int) throws {
        let folder = try TemporaryFolder()
        let tokenizer = try BytePairTokenizer(path: fixtures.path("trained.json"))
        let strings = try fixtures.cases("trained").map(\.text).filter { !$0.contains("<|") }
        let text = Array(String(repeating: strings.joined(separator: " and "), count: 200).utf8)
        #expect(text.count > 3 * TextPieces.pieceBytes)
        var whole: [Int32] = []
        text.withUnsafeBytes { text in
            BytePairEncoder(tokenizer).encode(
                .text(0..<text.count, beginsSegment: true), of: text, into: &whole)
        }
        let path = "\(folder.path)/a.bin"
        let count = try TokenShard.encode(
            path: folder.write(text, to: "a.txt"), with: tokenizer, to: path, threads: threads)
        #expect(count == whole.count)
        let shard = try TokenShard(path: path)
        #expect(try shard.all() == whole)
    }

    /// Added tokens are cut out of the text wherever pieces end.
    @Test func addedTokensInLongTexts() throws {
        let tokenizer = try BytePairTokenizer(path: fixtures.path("trained.json"))
        let text = String(repeating: "to <|endoftext|>", count: 200_000)
        let ids = tokenizer.encode(text)
        let once = tokenizer.encode("to <|endoftext|>")
        #expect(once.last == 0)
        #expect(ids.count == 200_000 * once.count)
        #expect(ids.count { $0 == 0 } == 200_000)
    }

    @Test(arguments: [1, 3]) func mergesAreThoseOfHuggingFace(threads: Int) throws {
        let folder = try TemporaryFolder()
        let vocabulary = try BytePairTrainer(vocabSize: 700, specialTokens: ["<|endoftext|>"])
            .train(path: fixtures.path("corpus.txt"), threads: threads)
        let path = try vocabulary.write(to: "\(folder.path)/a/b")
        func model(_ path: String) throws -> (vocab: NSDictionary, merges: NSArray) {
            let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path)))
            let model = try #require((json as? NSDictionary)?["model"] as? NSDictionary)
            return (
                try #require(model["vocab"] as? NSDictionary), try #require(model["merges"] as? NSArray)
            )
        }
        let (ours, theirs) = (try model(path), try model(fixtures.path("trained.json")))
        #expect(ours.vocab.isEqual(theirs.vocab))
        #expect(ours.merges.isEqual(theirs.merges))
        let tokenizer = try BytePairTokenizer(path: path)
        for item in try fixtures.cases("trained") { #expect(tokenizer.encode(item.text) == item.ids) }
    }

    @Test func aTextWithFewPairsGivesAShorterVocabulary() throws {
        let folder = try TemporaryFolder()
        let text = try folder.write("abab abab".utf8, to: "text")
        let vocabulary = try BytePairTrainer(vocabSize: 1000, specialTokens: []).train(path: text, threads: 1)
        // "ab", "abab"; " abab" comes once.
        #expect(vocabulary.vocabSize == 258)
    }
}
