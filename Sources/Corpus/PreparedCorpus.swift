import Configs
import Foundation

/// The corpus of a run as every rank sees it: a training and a validation split over memory-mapped shards.
///
/// The coordinator calls `prepare` once; then every rank calls `open`.
public struct PreparedCorpus: Sendable {
    /// Shuffled anew every epoch.
    public let train: BatchSource
    /// In the order of the text.
    public let validation: BatchSource
    /// Tokens of both splits.
    public var tokenCount: Int { train.tokenCount + validation.tokenCount }

    /// Checks the corpus and writes what the ranks will open: a text file becomes `train.bin` and `validation.bin` in
    /// `directory`; a token shard (`.bin`) stays where it is. A tokenizer's file is copied to `directory`, too. Nothing is
    /// created unless every check passes that needs no tokens.
    ///
    /// - Parameters:
    ///   - threads: that encode text.
    ///   - progress: is told now and then which share of the text is encoded.
    /// - Throws: `LockstepError`: `.inputMissing`, `.badData` (empty, malformed, an id outside the vocabulary),
    ///   `.badConfiguration` (a split shorter than a sample, a vocabulary that is not the tokenizer's),
    ///   `.cannotCreate`, `.inputOutput`.
    public static func prepare(
        data: DataConfig, vocabSize: Int, contextLength: Int, directory: String, threads: Int = 1,
        progress: (Double) -> Void = { _ in }
    ) throws {
        let tokenizer = try data.tokenizer.makeTokenizer()
        if data.isShard {
            let shard = try TokenShard(path: data.path)
            _ = try data.split(tokens: shard.count, contextLength: contextLength)
            try shard.validate(vocabSize: vocabSize)
            if data.tokenizer != .bytes { try data.requireIDs(tokenizer.vocabSize, fit: vocabSize) }
            try data.keepTokenizer(in: directory)
            return
        }
        try data.requireIDs(tokenizer.vocabSize, fit: vocabSize)
        let text = try MappedFile(path: data.path)
        guard !text.bytes.isEmpty else {
            throw LockstepError(
                .badData, "\(data.path) is empty. Set data.path to a text file with some text in it.")
        }
        // The text is cut by bytes; a token is at least a byte, so that a text too short is found before any work.
        let boundary = textBoundary(
            text.bytes, near: try data.split(tokens: text.bytes.count, contextLength: contextLength),
            tokenizer)
        try createFolder(directory)
        try data.keepTokenizer(in: directory)
        let encoding = ParallelEncoding(tokenizer, threads: threads)
        for (split, range) in [(Split.train, 0..<boundary), (.validation, boundary..<text.bytes.count)] {
            let count = try TokenShard.write(
                UnsafeRawBufferPointer(rebasing: text.bytes[range]), encoding,
                to: shardPath(split, in: directory)
            ) { end in progress(Double(range.lowerBound + end) / Double(text.bytes.count)) }
            try data.requireSample(split, tokens: count, contextLength: contextLength)
        }
    }

    /// Where to cut the text, at `boundary` or, for tokens of several bytes, behind it: at the end of a line, of a word or at
    /// least of a character.
    private static func textBoundary(
        _ text: UnsafeRawBufferPointer, near boundary: Int, _ tokenizer: any Tokenizer
    ) -> Int {
        guard !(tokenizer is ByteTokenizer) else { return boundary }
        let window = boundary..<min(text.count, boundary + 4096)
        return window.first { text[$0 - 1] == UInt8(ascii: "\n") }
            ?? window.first { WordSplitter.endsWord(text, before: $0) }
            ?? window.first { text[$0] & 0xC0 != 0x80 } ?? boundary
    }

    /// The tokenizer of a run whose corpus was prepared in `directory`.
    ///
    /// - Throws: as `BytePairTokenizer.init(path:)`.
    public static func tokenizer(_ data: DataConfig, directory: String) throws -> any Tokenizer {
        switch data.tokenizer {
        case .bytes: ByteTokenizer()
        case .file: try BytePairTokenizer(path: tokenizerPath(in: directory))
        }
    }

    /// Where `prepare` puts the file of the tokenizer, if it has one.
    public static func tokenizerPath(in directory: String) -> String { "\(directory)/tokenizer.json" }

    /// Maps the prepared corpus.
    ///
    /// - Parameters:
    ///   - seed: with the epoch, decides the order of the training samples.
    ///   - directory: the folder given to `prepare`.
    /// - Throws: as `prepare`.
    public static func open(
        data: DataConfig, contextLength: Int, seed: UInt64, directory: String
    ) throws -> PreparedCorpus {
        if data.isShard {
            let shard = try TokenShard(path: data.path)
            let boundary = try data.split(tokens: shard.count, contextLength: contextLength)
            return PreparedCorpus(
                train: BatchSource(
                    shard: shard, tokens: 0..<boundary, contextLength: contextLength,
                    order: .shuffled(seed: seed)),
                validation: BatchSource(
                    shard: shard, tokens: boundary..<shard.count, contextLength: contextLength,
                    order: .sequential))
        }
        func source(_ split: Split, order: BatchSource.Order) throws -> BatchSource {
            let path = shardPath(split, in: directory)
            guard FileManager.default.fileExists(atPath: path) else {
                throw LockstepError(
                    .inputMissing,
                    "There is no file \(path), which the run made of \(data.path). Bring it back, or train again."
                )
            }
            let shard = try TokenShard(path: path)
            try data.requireSample(split, tokens: shard.count, contextLength: contextLength)
            return BatchSource(
                shard: shard, tokens: 0..<shard.count, contextLength: contextLength, order: order)
        }
        return PreparedCorpus(
            train: try source(.train, order: .shuffled(seed: seed)),
            validation: try source(.validation, order: .sequential))
    }

    /// The files that `open` maps.
    public static func files(data: DataConfig, directory: String) -> [String] {
        data.isShard
            ? [data.path] : [Split.train, .validation].map { shardPath($0, in: directory) }
    }

    /// Tokens of the corpus that `data` names; nil when there is no such file or it cannot be read. Of a text with tokens of
    /// several bytes an estimate, from samples.
    public static func tokenCount(_ data: DataConfig) -> Int? {
        if data.isShard { return try? TokenShard(path: data.path).count }
        guard let text = try? MappedFile(path: data.path), let tokenizer = try? data.tokenizer.makeTokenizer()
        else { return nil }
        return if tokenizer is ByteTokenizer { text.bytes.count } else { sampledCount(text.bytes, tokenizer) }
    }

    /// About how many tokens a text has.
    private static func sampledCount(_ text: UnsafeRawBufferPointer, _ tokenizer: any Tokenizer) -> Int {
        let (samples, sampleBytes) = (16, 1 << 14)
        guard text.count > samples * sampleBytes else { return tokenizer.encode(text).count }
        let tokens = (0..<samples).reduce(0) { sum, index in
            let start = index * (text.count - sampleBytes) / (samples - 1)
            return sum
                + tokenizer.encode(UnsafeRawBufferPointer(rebasing: text[start..<start + sampleBytes])).count
        }
        return Int(Double(tokens) / Double(samples * sampleBytes) * Double(text.count))
    }

    private static func shardPath(_ split: Split, in directory: String) -> String {
        "\(directory)/\(split.rawValue).bin"
    }
}

enum Split: String {
    case train, validation
}

extension DataConfig {
    /// Whether `path` names a token shard rather than a text.
    var isShard: Bool { path.hasSuffix(".bin") }

    /// Throws `.badConfiguration` unless a model of `vocabSize` has the `size` ids of the tokenizer, and hardly more.
    func requireIDs(_ size: Int, fit vocabSize: Int) throws {
        // Products are faster at round sizes, so that vocabularies are filled up to them.
        let largest = (size + Self.vocabularyUnit - 1) / Self.vocabularyUnit * Self.vocabularyUnit
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
