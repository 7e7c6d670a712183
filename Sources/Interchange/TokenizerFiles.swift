import Configs
import Foundation

/// A tokenizer that goes with a model.
package enum ExportedTokenizer {
    /// The token of every byte is the byte.
    case bytes
    /// A Hugging Face `tokenizer.json`.
    case file(String)

    private static let largestFile = 256 << 20

    /// The files that make a tokenizer of `transformers` which gives the same ids. Throws `.inputMissing`, `.badData`.
    func files(contextLength: Int) throws -> [(name: String, content: Data)] {
        let tokenizer =
            switch self {
            case .bytes: try byteTokenizer().bytes()
            case .file(let path): try InputFile(path).contents(limit: Self.largestFile)
            }
        let settings = JSONValue.object([
            "tokenizer_class": .text("PreTrainedTokenizerFast"),
            "model_max_length": .whole(contextLength),
            "clean_up_tokenization_spaces": .truth(false),
        ])
        return [("tokenizer.json", tokenizer), ("tokenizer_config.json", try settings.bytes())]
    }
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
