import Configs

extension BytePairTokenizer {
    private static let largestFile = 256 << 20
    /// Ids are 32-bit, and memory must not follow from a single number in a file.
    private static let largestID = 1 << 22

    /// Reads a Hugging Face `tokenizer.json` (version 1.0) of the ByteLevel BPE kind.
    ///
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` that names the part of the file which is
    ///   wrong or which says something that this reader does not do.
    public init(path: String) throws {
        let file = try MappedFile(path: path, remedy: "Give a Hugging Face tokenizer.json.")
        guard file.bytes.count <= Self.largestFile else {
            throw LockstepError(
                .badData,
                "\(path): a tokenizer.json has at most \(Self.largestFile) bytes, not \(file.bytes.count).")
        }
        do {
            try self.init(JSONText(file.bytes))
        } catch let fault as JSONText.Fault {
            throw LockstepError(
                .badData,
                "\(path), offset \(fault.offset): \(fault.text). Give a Hugging Face tokenizer.json.")
        } catch let fault as TokenizerFault {
            throw LockstepError(.badData, "\(path): \(fault.text)")
        }
    }

    private init(_ file: JSONText) throws {
        guard file.members != nil, let model = file["model"] else {
            throw TokenizerFault("expected an object with a key model, as in a Hugging Face tokenizer.json")
        }
        try file.require("version", isAmong: ["1.0"])
        guard file["normalizer"].isNullOrMissing else {
            throw TokenizerFault(
                "normalizer \(file["normalizer"].typeName) is not supported; only null is")
        }
        (addsPrefixSpace, splitsWords) = try Self.preTokenization(file["pre_tokenizer"])
        try (file["decoder"] ?? .null).require("type", isAmong: ["ByteLevel"], of: "decoder")
        try Self.checkSettings(of: model)

        let vocab = try Self.vocab(model["vocab"])
        let added = try Self.addedTokens(file["added_tokens"], vocab)
        addedTokens = AddedTokens(added)
        vocabSize = 1 + max(vocab.ids.max().map(Int.init) ?? 0, added.map { Int($0.id) }.max() ?? 0)
        var tokenBytes = [[UInt8]?](repeating: nil, count: vocabSize)
        for (number, id) in vocab.ids.enumerated() {
            vocab.table.withWord(number) { tokenBytes[Int(id)] = ByteAlphabet.bytes(of: Array($0)) }
        }
        for token in added { tokenBytes[Int(token.id)] = token.content }
        self.tokenBytes = tokenBytes
        byteTokens = try (UInt8.min...UInt8.max).map { byte in
            guard let id = vocab.id(of: ByteAlphabet.token(of: [byte])) else {
                throw TokenizerFault(
                    "model.vocab has no token for the byte \(byte), so that some texts would lose characters; "
                        + "train it with an initial alphabet of all bytes (ByteLevel.alphabet())")
            }
            return id
        }
        merges = try Self.merges(model["merges"], vocab)
        wholeWords =
            model["ignore_merges"]?.bool == true ? Self.wholeWords(vocab) : (table: WordTable(), ids: [])
    }

    /// Returns whether texts get a space in front, and whether they are split into words.
    private static func preTokenization(_ part: JSONText?) throws -> (Bool, Bool) {
        let part = part ?? .null
        try part.require("type", isAmong: ["ByteLevel"], of: "pre_tokenizer")
        return (
            try part.flag("add_prefix_space", of: "pre_tokenizer", default: true),
            try part.flag("use_regex", of: "pre_tokenizer", default: true)
        )
    }

    private static func checkSettings(of model: JSONText) throws {
        try model.require("type", isAmong: ["BPE"], of: "model")
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            guard model[key].isNullOrMissing || model[key]?.bytes == [] else {
                throw TokenizerFault("model.\(key) is not supported; only null is")
            }
        }
        if let dropout = model["dropout"], !dropout.isNull, dropout.integer != 0 {
            throw TokenizerFault("model.dropout \(dropout.summary) is not supported; only null is")
        }
        if try model.flag("byte_fallback", of: "model", default: false) {
            throw TokenizerFault("model.byte_fallback true is not supported; ByteLevel has every byte anyway")
        }
        _ = try model.flag("ignore_merges", of: "model", default: false)
    }

    /// The vocabulary as it is written.
    private struct Vocab {
        var table = WordTable()
        /// By the number of the token in the table.
        var ids: [UInt32] = []

        func id(of token: [UInt8]) -> UInt32? {
            token.withUnsafeBytes { table.find($0) }.map { ids[$0] }
        }
    }

    private static func vocab(_ part: JSONText?) throws -> Vocab {
        guard let members = part?.members, !members.isEmpty else {
            throw TokenizerFault("model.vocab must be an object of tokens and their ids")
        }
        var vocab = Vocab()
        var seen: Set<UInt32> = []
        for member in members {
            let id = try id(member.value, of: member.key, in: "model.vocab")
            guard seen.insert(id).inserted else {
                throw TokenizerFault("model.vocab has two tokens with the id \(id)")
            }
            // The reader of JSON has refused keys that are there twice.
            _ = member.key.withUnsafeBytes { vocab.table.insert($0) }
            vocab.ids.append(id)
        }
        return vocab
    }

    private static func id(_ value: JSONText?, of token: [UInt8], in place: String) throws -> UInt32 {
        guard let id = value?.integer, (0...largestID).contains(id) else {
            throw TokenizerFault(
                "\(place): the id of \(quoted(token)) must be a whole number from 0 to \(largestID), found "
                    + "\(value?.summary ?? "none")")
        }
        return UInt32(id)
    }

    private static func addedTokens(_ part: JSONText?, _ vocab: Vocab) throws -> [AddedTokens.Token] {
        guard !part.isNullOrMissing else { return [] }
        guard let elements = part?.elements else {
            throw TokenizerFault("added_tokens must be a list, found \(part?.summary ?? "nothing")")
        }
        let contents = Dictionary(uniqueKeysWithValues: zip(vocab.ids, vocab.ids.indices))
        var seen: (ids: Set<UInt32>, contents: Set<[UInt8]>) = ([], [])
        return try elements.map { element in
            guard let content = element["content"]?.bytes, !content.isEmpty else {
                throw TokenizerFault(
                    "added_tokens: each must be an object with its content, found \(element.summary)")
            }
            let id = try id(element["id"], of: content, in: "added_tokens")
            let isOfVocab =
                contents[id].map { number in
                    vocab.table.withWord(number) { $0.elementsEqual(content) }
                } ?? (vocab.id(of: content) == nil)
            guard isOfVocab, seen.ids.insert(id).inserted, seen.contents.insert(content).inserted else {
                throw TokenizerFault(
                    "added_tokens: \(quoted(content)) has the id \(id), but the vocabulary or another added token "
                        + "says otherwise")
            }
            let place = "added_tokens: \(quoted(content))"
            if try element.flag("single_word", of: place, default: false) {
                throw TokenizerFault("\(place): single_word true is not supported")
            }
            return AddedTokens.Token(
                id: id, content: content,
                takesSpaceBefore: try element.flag("lstrip", of: place, default: false),
                takesSpaceBehind: try element.flag("rstrip", of: place, default: false),
                isNormalized: try element.flag("normalized", of: place, default: true))
        }
    }

    private static func merges(_ part: JSONText?, _ vocab: Vocab) throws -> MergeTable {
        guard let elements = part?.elements else {
            throw TokenizerFault("model.merges must be a list, found \(part?.summary ?? "nothing")")
        }
        var merges = MergeTable(capacity: elements.count)
        for (rank, element) in elements.enumerated() {
            guard let (left, right) = pair(element) else {
                throw TokenizerFault(
                    "model.merges, number \(rank): expected two tokens, as \"a b\" or [\"a\", \"b\"], found "
                        + element.summary)
            }
            var ids: [UInt32] = []
            for token in [left, right, left + right] {
                guard let id = vocab.id(of: token) else {
                    throw TokenizerFault(
                        "model.merges, number \(rank): \(quoted(token)) is not in model.vocab")
                }
                ids.append(id)
            }
            merges[ids[0], ids[1]] = MergeTable.merge(rank: rank, token: ids[2])
        }
        return merges
    }

    private static func pair(_ element: JSONText) -> ([UInt8], [UInt8])? {
        if let text = element.bytes {
            let parts = text.split(separator: 0x20, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return nil }
            return (Array(parts[0]), Array(parts[1]))
        }
        guard let parts = element.elements?.map(\.bytes), parts.count == 2, let left = parts[0],
            let right = parts[1]
        else { return nil }
        return (left, right)
    }

    private static func wholeWords(_ vocab: Vocab) -> (table: WordTable, ids: [UInt32]) {
        var table = WordTable()
        var ids: [UInt32] = []
        for (number, id) in vocab.ids.enumerated() {
            let bytes = vocab.table.withWord(number) { ByteAlphabet.bytes(of: Array($0)) }
            // Two ways to write the same bytes are one word, of which the first is meant.
            if bytes.withUnsafeBytes({ table.insert($0) }) == ids.count { ids.append(id) }
        }
        return (table, ids)
    }

    private static func quoted(_ token: [UInt8]) -> String {
        "\"\(excerpt(String(decoding: token, as: UTF8.self), limit: 40))\""
    }
}

/// What is wrong with a tokenizer.json, without the name of the file.
private struct TokenizerFault: Error {
    let text: String
    init(_ text: String) { self.text = text }
}

extension JSONText {
    fileprivate var isNull: Bool {
        if case .null = self { true } else { false }
    }

    /// Throws unless the value of `key` is one of a few words.
    fileprivate func require(_ key: String, isAmong words: [String], of parent: String? = nil) throws {
        guard let word = self[key]?.string, words.contains(word) else {
            let name = parent.map { "\($0).\(key)" } ?? key
            throw TokenizerFault(
                "\(name) is \(self[key]?.summary ?? "missing"); only \(words.joined(separator: ", ")) is supported"
            )
        }
    }

    fileprivate func flag(_ key: String, of parent: String, default value: Bool) throws -> Bool {
        guard let part = self[key] else { return value }
        guard let flag = part.bool else {
            throw TokenizerFault("\(parent).\(key) must be true or false, found \(part.summary)")
        }
        return flag
    }
}

extension JSONText? {
    fileprivate var isNullOrMissing: Bool {
        if let value = self { value.isNull } else { true }
    }

    /// Of a part of a tokenizer.json that says its type.
    fileprivate var typeName: String { self?["type"]?.string.map { excerpt($0, limit: 40) } ?? "given" }
}
