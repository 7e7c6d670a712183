import Configs
import Corpus
import Foundation

/// A tokenizer that goes with a model.
package enum ExportedTokenizer: CustomStringConvertible {
    /// The token of every byte is the byte.
    case bytes
    /// A Hugging Face `tokenizer.json`.
    case file(String)

    private static let largestFile = 256 << 20

    package var description: String {
        switch self {
        case .bytes: "bytes"
        case .file(let path): path
        }
    }

    /// The files that make a tokenizer of `transformers` which gives the same ids, of an encoder–decoder with the token that
    /// ends a source behind them. Throws `.inputMissing`, `.badData`.
    func files(for model: ModelConfig) throws -> [(name: String, content: Data)] {
        var tokenizer =
            switch self {
            case .bytes: try byteTokenizer().bytes()
            case .file(let path): try InputFile(path).contents(limit: Self.largestFile)
            }
        let isPair = model.family == .encoderDecoder
        if isPair { tokenizer = try ending(tokenizer) }
        let settings = JSONValue.object([
            "tokenizer_class": .text("PreTrainedTokenizerFast"),
            "model_max_length": .whole(isPair ? model.sourceLength : model.contextLength),
            "clean_up_tokenization_spaces": .truth(false),
        ])
        return [("tokenizer.json", tokenizer), ("tokenizer_config.json", try settings.bytes())]
    }

    /// The tokens that end a line. Throws as a tokenizer does that is read.
    func lineEnds() throws -> LineEnds {
        let tokenizer: any Tokenizer =
            switch self {
            case .bytes: ByteTokenizer()
            case .file(let path): try BytePairTokenizer(path: path)
            }
        let newline = Int(tokenizer.token(ofByte: 0x0A))
        let others = (0..<tokenizer.vocabSize).filter {
            $0 != newline && tokenizer.decode([Int32($0)]).contains(0x0A)
        }
        return LineEnds(newline: newline, all: [newline] + others)
    }

    /// The `tokenizer.json` with a post-processor that puts the newline's token behind a text.
    private func ending(_ tokenizer: Data) throws -> Data {
        let end = try lineEnds().newline
        guard var json = (try? JSONSerialization.jsonObject(with: tokenizer)) as? [String: Any] else {
            throw LockstepError(.badData, "\(self): not the JSON of a tokenizer.json")
        }
        let newline = byteCharacters()[0x0A]
        let text = { (name: String) in ["Sequence": ["id": name, "type_id": 0] as [String: Any]] }
        let special = ["SpecialToken": ["id": newline, "type_id": 0] as [String: Any]]
        json["post_processor"] =
            [
                "type": "TemplateProcessing", "single": [text("A"), special],
                "pair": [text("A"), special, text("B"), special],
                "special_tokens": [newline: ["id": newline, "ids": [end], "tokens": [newline]]],
            ] as [String: Any]
        return try JSONSerialization.data(
            withJSONObject: json, options: [.sortedKeys, .withoutEscapingSlashes])
    }
}

/// The token that ends sources and targets and begins targets, and all tokens, this one first, in whose text a line ends.
struct LineEnds {
    let newline: Int
    let all: [Int]
}

/// A byte-level BPE without merges: the token of every byte is the byte.
private func byteTokenizer() -> JSONValue {
    let byteLevel: [String: JSONValue] = [
        "type": .text("ByteLevel"), "add_prefix_space": .truth(false), "trim_offsets": .truth(true),
        "use_regex": .truth(false),
    ]
    let vocabulary = zip(byteCharacters(), 0...).map { ($0, JSONValue.whole($1)) }
    return .object([
        "version": .text("1.0"), "truncation": .null, "padding": .null, "added_tokens": .list([]),
        "normalizer": .null, "pre_tokenizer": .object(byteLevel), "post_processor": .null,
        "decoder": .object(byteLevel),
        "model": .object([
            "type": .text("BPE"), "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
            "end_of_word_suffix": .null, "fuse_unk": .truth(false), "byte_fallback": .truth(false),
            "ignore_merges": .truth(false),
            "vocab": .object(Dictionary(uniqueKeysWithValues: vocabulary)), "merges": .list([]),
        ]),
    ])
}

/// The character by which GPT-2's vocabulary writes each byte: itself where it is a visible one of Latin-1, the others in
/// turn from U+0100 on.
private func byteCharacters() -> [String] {
    var next = UInt32(0x100)
    return (0..<256).map { byte in
        let isVisible =
            (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
        defer { if !isVisible { next += 1 } }
        return String(Unicode.Scalar(isVisible ? UInt32(byte) : next)!)
    }
}
