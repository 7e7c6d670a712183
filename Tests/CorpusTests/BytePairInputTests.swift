import Configs
import Corpus
import Foundation
import Testing

/// Files that are no tokenizer, or one of another kind.
@Suite struct BytePairInputTests {
    private typealias Object = [String: Any]

    private func sound() throws -> Object {
        let path =
            URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path
            + "/Fixtures/tokenizer/trained.json"
        let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path)))
        return try #require(json as? Object)
    }

    private func refusal(_ bytes: some Sequence<UInt8>) throws -> String? {
        let folder = try TemporaryFolder()
        let path = try folder.write(bytes, to: "tokenizer.json")
        do {
            _ = try BytePairTokenizer(path: path)
            return nil
        } catch let error as LockstepError {
            #expect(error.status == .badData)
            #expect(error.description.contains(path))
            return error.description
        }
    }

    private func refusalWith(_ change: (inout Object) -> Void) throws -> String? {
        var json = try sound()
        change(&json)
        return try refusal(JSONSerialization.data(withJSONObject: json))
    }

    private func refusalWithModel(_ change: (inout Object) -> Void) throws -> String? {
        try refusalWith { json in
            var model = json["model"] as? Object ?? [:]
            change(&model)
            json["model"] = model
        }
    }

    @Test func soundFileIsRead() throws {
        #expect(try refusalWith { _ in } == nil)
    }

    @Test func unsupportedPartsAreNamed() throws {
        let cases: [(name: String, part: Any)] = [
            ("version", "2.0"), ("normalizer", ["type": "NFC"]), ("pre_tokenizer", ["type": "Metaspace"]),
            ("decoder", ["type": "WordPiece"]), ("added_tokens", "none"),
            ("added_tokens", [["id": 1, "content": "x"]]), ("added_tokens", [["id": 900]]),
            ("added_tokens", [["id": 900, "content": "x", "single_word": true] as Object]),
            ("pre_tokenizer.add_prefix_space", ["type": "ByteLevel", "add_prefix_space": 1] as Object),
        ]
        for (name, part) in cases {
            let text = try refusalWith { $0[String(name.split(separator: ".")[0])] = part }
            #expect(text?.contains(name) == true, "\(name): \(text ?? "accepted")")
        }
        let models: [(name: String, part: Any)] = [
            ("model.type", "Unigram"), ("model.dropout", 0.1), ("model.end_of_word_suffix", "</w>"),
            ("model.continuing_subword_prefix", "##"), ("model.byte_fallback", true), ("model.merges", 3),
            ("model.merges", ["a"]), ("model.merges, number 1", [["a", "b"], ["no", "such"]]),
            ("model.merges", [["a", "b", "c"]]), ("model.vocab", ["a": -1]),
            ("model.vocab", ["a": 1, "b": 1]),
            ("model.vocab", ["a": 1e12]), ("the byte 0", ["<|endoftext|>": 0]),
        ]
        for (name, part) in models {
            let key = name.hasPrefix("model.") ? String(name.dropFirst(6).prefix { $0 != "," }) : "vocab"
            let text = try refusalWithModel {
                $0[key] = part
                if key == "vocab" { $0["merges"] = [] as [String] }
            }
            #expect(text?.contains(name) == true, "\(name): \(text ?? "accepted")")
        }
    }

    @Test func damagedTextIsNamedWithItsOffset() throws {
        let cases: [(text: String, expected: String)] = [
            ("", "offset 0"), ("{", "offset 1"), ("{\"a\": 1, \"a\": 2}", "offset 9"), ("[1] 2", "offset 4"),
            ("[\"\\ud800\"]", "surrogate"), ("\"\u{1}\"", "control"), ("[1e999]", "not a number"),
            ("nul", "null"),
            (String(repeating: "[", count: 100_000), "levels"), ("{}", "model"), ("[]", "model"),
            ("\"a", "without an end"),
        ]
        for (text, expected) in cases {
            let refusal = try refusal(text.utf8)
            #expect(refusal?.contains(expected) == true, "\(text.prefix(20)): \(refusal ?? "accepted")")
        }
        #expect(try refusal([UInt8(ascii: "\""), 0xFF, UInt8(ascii: "\"")])?.contains("UTF-8") == true)
    }

    @Test func missingFile() throws {
        let error = #expect(throws: LockstepError.self) { _ = try BytePairTokenizer(path: "/none.json") }
        #expect(error?.status == .inputMissing)
    }
}
