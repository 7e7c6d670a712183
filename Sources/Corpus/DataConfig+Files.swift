import Configs

enum Split: String {
    case train, validation
}

extension DataConfig {
    /// Of the token shard that `path` names; nil when it is a text, or pairs.
    package var shardLayout: TokenShard.Layout? {
        guard task == .language else { return nil }
        return switch resolvedFormat {
        case .shard: .header
        case .uint16: .bare
        default: nil
        }
    }

    var textFormat: TextFile.Format { resolvedFormat == .jsonl ? .lines : .plain }
    var pairFormat: PairFormat { resolvedFormat == .jsonl ? .lines : .tabSeparated }

    /// Throws `.badConfiguration` unless a model of `vocabSize` has the `size` ids of the tokenizer, and hardly more.
    func requireIDs(_ size: Int, fit vocabSize: Int) throws {
        // Products are faster at round sizes, so that vocabularies are filled up to them; a mask may need an id more.
        let largest = (size / Self.vocabularyUnit + 1) * Self.vocabularyUnit
        guard vocabSize < size || (vocabSize > largest && tokenizer != .bytes) else { return }
        throw LockstepError(
            .badConfiguration,
            "model.vocab_size is \(vocabSize), but data.tokenizer \(tokenizer.name) has \(size) token ids. Set "
                + "model.vocab_size to \(size), or \(largest) to fill it up to a multiple of \(Self.vocabularyUnit), or name "
                + "the tokenizer of the model.")
    }

    private static let vocabularyUnit = 128

    /// Copies the tokenizer's file, if it has one, to a run's folder.
    func keepTokenizer(in directory: String) throws {
        guard case .file(let path) = tokenizer else { return }
        let file = try MappedFile(path: path, remedy: "Set data.tokenizer to a tokenizer.json.")
        try createFolder(directory)
        try AtomicFile.write(Array(file.bytes), to: PreparedCorpus.tokenizerPath(in: directory))
    }

    /// Where the validation split begins, of `tokens` in all.
    func split(tokens: Int, contextLength: Int) throws -> Int {
        let boundary = tokens - Int((Double(tokens) * validationFraction).rounded())
        try requireSample(.train, tokens: boundary, contextLength: contextLength)
        try requireSample(.validation, tokens: tokens - boundary, contextLength: contextLength)
        return boundary
    }

    func requireSample(_ split: Split, tokens: Int, contextLength: Int) throws {
        guard tokens <= contextLength else { return }
        let change = split == .train ? "lower" : "raise"
        throw LockstepError(
            .badConfiguration,
            "\(path): the \(split.rawValue) split has \(tokens) tokens, but a sample needs model.context_length + 1 = "
                + "\(contextLength + 1). Lower model.context_length, \(change) data.validation_fraction "
                + "(\(validationFraction)) or use a longer corpus.")
    }
}
