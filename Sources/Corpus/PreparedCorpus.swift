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
    /// `directory`; a token shard (`.bin`) stays where it is. Nothing is created unless every check passes.
    ///
    /// - Throws: `LockstepError`: `.inputMissing`, `.badData` (empty, malformed, an id outside the vocabulary),
    ///   `.badConfiguration` (a split shorter than a sample, vocabulary too small for the tokenizer),
    ///   `.cannotCreate`, `.inputOutput`.
    public static func prepare(
        data: DataConfig, vocabSize: Int, contextLength: Int, directory: String
    ) throws {
        if data.isShard {
            let shard = try TokenShard(path: data.path)
            _ = try data.split(tokens: shard.count, contextLength: contextLength)
            try shard.validate(vocabSize: vocabSize)
            return
        }
        let tokenizer = data.tokenizer.makeTokenizer()
        guard tokenizer.vocabSize <= vocabSize else {
            throw LockstepError(
                .badConfiguration,
                "model.vocab_size is \(vocabSize), but data.tokenizer \(data.tokenizer.rawValue) has "
                    + "\(tokenizer.vocabSize) token ids. Set model.vocab_size to at least \(tokenizer.vocabSize)."
            )
        }
        let text = try MappedFile(path: data.path)
        guard !text.bytes.isEmpty else {
            throw LockstepError(
                .badData, "\(data.path) is empty. Set data.path to a text file with some text in it.")
        }
        // The text is cut by bytes; a token is at least a byte, so that a text too short is found before any work.
        let boundary = try data.split(tokens: text.bytes.count, contextLength: contextLength)
        try createFolder(directory)
        try write(text.bytes[..<boundary], with: tokenizer, to: shardPath(.train, in: directory))
        try write(text.bytes[boundary...], with: tokenizer, to: shardPath(.validation, in: directory))
    }

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

    /// Tokens of the corpus that `data` names; nil when there is no such file or it cannot be read.
    public static func tokenCount(_ data: DataConfig) -> Int? {
        if data.isShard { return try? TokenShard(path: data.path).count }
        // A byte is a token.
        let attributes = try? FileManager.default.attributesOfItem(atPath: data.path)
        return (attributes?[.size] as? NSNumber)?.intValue
    }

    private static func shardPath(_ split: Split, in directory: String) -> String {
        "\(directory)/\(split.rawValue).bin"
    }

    private static func write(
        _ text: Slice<UnsafeRawBufferPointer>, with tokenizer: any Tokenizer, to path: String
    ) throws {
        let pieceBytes = 1 << 20
        var writer = try TokenShardWriter(path: path)
        var tokens: [UInt16] = []
        var rest = text
        while !rest.isEmpty {
            tokens.removeAll(keepingCapacity: true)
            tokenizer.encode(UnsafeRawBufferPointer(rebasing: rest.prefix(pieceBytes)), into: &tokens)
            try writer.append(tokens)
            rest = rest.dropFirst(pieceBytes)
        }
        try writer.finish()
    }
}

enum Split: String {
    case train, validation
}

extension DataConfig {
    /// Whether `path` names a token shard rather than a text.
    var isShard: Bool { path.hasSuffix(".bin") }

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
