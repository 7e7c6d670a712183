import Configs
import Foundation

/// The corpus of a run as every rank sees it: a training and a validation split over token shards.
///
/// The coordinator calls `prepare` once; then every rank calls `open`.
public struct PreparedCorpus: Sendable {
    /// Shuffled anew every epoch.
    public let train: BatchSource
    /// In the order of the text.
    public let validation: BatchSource
    /// Tokens of both splits.
    public var tokenCount: Int { train.tokenCount + validation.tokenCount }

    /// Checks the corpus and writes what the ranks will open: a text, or pairs, become `train.bin` and `validation.bin` in
    /// `directory`; a token shard stays where it is. A tokenizer's file is copied to `directory`, too. Nothing is created
    /// unless every check passes that needs no tokens.
    ///
    /// - Parameters:
    ///   - contextLength: tokens of a sample.
    ///   - sourceLength: of an encoder–decoder tokens of a source, with contextLength those of a target; 0 where a pair is
    ///     one sequence.
    ///   - threads: that encode text.
    ///   - progress: is told now and then which share of the text is encoded.
    /// - Throws: `LockstepError`: `.inputMissing`, `.badData` (empty, malformed, an id outside the vocabulary, a pair longer
    ///   than the context), `.badConfiguration` (a split shorter than a sample, a vocabulary that is not the tokenizer's),
    ///   `.cannotCreate`, `.inputOutput`.
    public static func prepare(
        data: DataConfig, vocabSize: Int, contextLength: Int, sourceLength: Int = 0, directory: String,
        threads: Int = 1,
        progress: (Double) -> Void = { _ in }
    ) throws {
        let tokenizer = try data.tokenizer.makeTokenizer()
        if let layout = data.shardLayout {
            let shard = try TokenShard(path: data.path, layout: layout)
            _ = try data.split(tokens: shard.count, contextLength: contextLength)
            try shard.validate(vocabSize: vocabSize)
            if data.tokenizer != .bytes { try data.requireIDs(tokenizer.vocabSize, fit: vocabSize) }
            try data.keepTokenizer(in: directory)
            return
        }
        try data.requireIDs(tokenizer.vocabSize, fit: vocabSize)
        let encoding = ParallelEncoding(tokenizer, threads: threads)
        if data.task.hasPairs {
            try preparePairs(
                data, encoding, PairRoom(contextLength: contextLength, sourceLength: sourceLength),
                directory: directory, progress: progress)
            return
        }
        let text = try makeText(data, contextLength: contextLength, directory: directory)
        if data.packing == .documents {
            try prepareDocuments(
                text, data, encoding, contextLength: contextLength, directory: directory, progress: progress)
            return
        }
        let size = text.bytes.count
        // The text is cut by bytes; a token is at least a byte, so that a text too short is found before any work.
        let boundary = text.boundary(
            near: try data.split(tokens: size, contextLength: contextLength), tokenizer)
        try createFolder(directory)
        try data.keepTokenizer(in: directory)
        for (split, range) in [(Split.train, 0..<boundary), (.validation, boundary..<size)] {
            let count = try TokenShard.write(text, in: range, encoding, to: shardPath(split, in: directory)) {
                progress(Double($0) / Double(size))
            }
            try data.requireSample(split, tokens: count, contextLength: contextLength)
        }
    }

    /// The text that `data` names, or that is drawn at random and written to `directory` first.
    private static func makeText(
        _ data: DataConfig, contextLength: Int, directory: String
    ) throws -> TextFile {
        let remedy = "Set data.path to a text file with some text in it."
        let path = "\(directory)/text.txt"
        switch data.task {
        case .uniform:
            _ = try data.split(tokens: data.generated.characters, contextLength: contextLength)
            try createFolder(directory)
            try UniformText.write(data.generated, to: path)
        case .canaries:
            let text = try TextFile(path: data.path, format: .plain, remedy: remedy)
            let canaries = try Canaries(data)
            _ = try data.split(tokens: text.bytes.count + canaries.bytes, contextLength: contextLength)
            try createFolder(directory)
            try canaries.write(into: text, to: path, list: "\(directory)/canaries.tsv")
        default: return try TextFile(path: data.path, format: data.textFormat, remedy: remedy)
        }
        return try TextFile(path: path, format: .plain, remedy: remedy)
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
    ///   - contextLength, sourceLength: those given to `prepare`.
    ///   - seed: with the epoch, decides the order of the training samples.
    ///   - directory: the folder given to `prepare`.
    /// - Throws: as `prepare`.
    public static func open(
        data: DataConfig, contextLength: Int, sourceLength: Int = 0, seed: UInt64, directory: String
    ) throws -> PreparedCorpus {
        if let layout = data.shardLayout {
            let shard = try TokenShard(path: data.path, layout: layout)
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
            if data.task.hasPairs {
                return BatchSource(
                    pairs: try PairShard(
                        path: path, PairRoom(contextLength: contextLength, sourceLength: sourceLength)),
                    contextLength: contextLength, order: order)
            }
            if data.packing == .documents {
                return BatchSource(
                    documents: try DocumentShard(path: path, longest: contextLength),
                    contextLength: contextLength, order: order)
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

    /// The files that `open` reads.
    public static func files(data: DataConfig, directory: String) -> [String] {
        guard data.shardLayout == nil else { return [data.path] }
        let shards = [Split.train, .validation].map { shardPath($0, in: directory) }
        if data.task.hasPairs { return shards + shards.map(PairShard.indexPath) }
        return data.packing == .documents ? shards + shards.map(DocumentShard.indexPath) : shards
    }

    /// Tokens of the corpus that `data` names; nil when there is no such file or it cannot be read. Of a text with tokens of
    /// several bytes an estimate, from samples. A pair, or a document, counts as a whole context, which is what it takes of a batch.
    public static func tokenCount(_ data: DataConfig, contextLength: Int) -> Int? {
        if data.task == .uniform { return data.generated.characters }
        if data.task.isGenerated { return data.generated.samples * contextLength }
        if let layout = data.shardLayout { return try? TokenShard(path: data.path, layout: layout).count }
        if data.task == .pairs {
            guard let file = try? PairFile(path: data.path, format: data.pairFormat) else { return nil }
            return file.bytes.count { $0 == 0x0A } * contextLength
        }
        guard let text = try? TextFile(path: data.path, format: data.textFormat, remedy: ""),
            let tokenizer = try? data.tokenizer.makeTokenizer()
        else { return nil }
        if data.packing == .documents { return text.bytes.count { $0 == 0x0A } * contextLength }
        return text.tokenCount(tokenizer)
    }

    static func shardPath(_ split: Split, in directory: String) -> String {
        "\(directory)/\(split.rawValue).bin"
    }
}
