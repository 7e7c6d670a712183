import Configs

/// What a `BytePairTrainer` has learnt.
public struct TrainedVocabulary {
    /// The bytes of each id: special tokens, single bytes, merges.
    let tokens: [[UInt8]]
    let merges: [TokenPair]
    let specialTokens: Int

    public var vocabSize: Int { tokens.count }

    /// Writes `tokenizer.json` and `tokenizer_config.json`, which Hugging Face's `tokenizers` and `AutoTokenizer` load, into
    /// `directory`, which is made if need be. Returns the path of the former.
    ///
    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    @discardableResult
    public func write(to directory: String) throws -> String {
        try createFolder(directory)
        let path = "\(directory)/tokenizer.json"
        try AtomicFile.write(tokenizerJSON(), to: path)
        try AtomicFile.write(configJSON(), to: "\(directory)/tokenizer_config.json")
        return path
    }

    private func name(_ id: Int) -> [UInt8] {
        JSONText.quoted(id < specialTokens ? tokens[id] : ByteAlphabet.token(of: tokens[id]))
    }

    func tokenizerJSON() -> [UInt8] {
        let added = (0..<specialTokens).map { id in
            Array("    {\"id\": \(id), \"content\": ".utf8) + name(id)
                + Array(
                    (", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                        + "\"special\": true}").utf8)
        }
        let vocab = tokens.indices.map { Array("      ".utf8) + name($0) + Array(": \($0)".utf8) }
        let pairs = merges.map { pair in
            Array("      [".utf8) + name(Int(pair.left)) + Array(", ".utf8) + name(Int(pair.right))
                + [UInt8(ascii: "]")]
        }
        func lines(_ parts: [[UInt8]]) -> [UInt8] { Array(parts.joined(separator: ",\n".utf8)) }
        var json = Array(
            """
            {
              "version": "1.0",
              "truncation": null,
              "padding": null,
              "added_tokens": [

            """.utf8)
        json += lines(added)
        json += Array(
            """

              ],
              "normalizer": null,
              "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
              "post_processor": null,
              "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
              "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
                "vocab": {

            """.utf8)
        json += lines(vocab)
        json += Array("\n    },\n    \"merges\": [\n".utf8)
        json += lines(pairs)
        json += Array("\n    ]\n  }\n}\n".utf8)
        return json
    }

    private func configJSON() -> [UInt8] {
        var json = Array("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n".utf8)
        if specialTokens > 0 {
            for key in ["bos_token", "eos_token", "unk_token"] {
                json += Array("  \"\(key)\": ".utf8) + name(0) + Array(",\n".utf8)
            }
        }
        json += Array("  \"clean_up_tokenization_spaces\": false\n}\n".utf8)
        return json
    }
}
