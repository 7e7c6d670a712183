import Configs

/// Layout of a token shard, the `.bin` format of karpathy/llm.c: 256 little-endian Int32 (magic, version, number of
/// tokens, zeros), then the tokens, little-endian.
enum ShardFormat: CaseIterable {
    /// UInt16 tokens.
    case narrow
    /// UInt32 tokens, llm.c's format for Llama 3.
    case wide

    static let headerBytes = 1024
    static let maxTokens = Int(Int32.max)

    /// The one for ids below `vocabSize`.
    init(vocabSize: Int) { self = vocabSize <= 1 << 16 ? .narrow : .wide }

    var magic: Int32 {
        switch self {
        case .narrow: 20_240_520
        case .wide: 20_240_801
        }
    }

    var version: Int32 {
        switch self {
        case .narrow: 1
        case .wide: 7
        }
    }

    var tokenBytes: Int {
        switch self {
        case .narrow: 2
        case .wide: 4
        }
    }
}

/// A token shard in llm.c's format, memory-mapped and read-only.
public final class TokenShard: Sendable {
    public let path: String
    /// Number of tokens; at least one.
    public let count: Int
    private let file: MappedFile
    /// Of the tokens in the file, in bytes.
    private let start: Int
    private let format: ShardFormat
    private nonisolated(unsafe) let tokens: UnsafeRawPointer

    public enum Layout: Sendable {
        /// llm.c's: behind a header.
        case header
        /// nanoGPT's: nothing but tokens of 16 bits.
        case bare
    }

    /// - Throws: `LockstepError` that names the file, the offset and what was expected: `.inputMissing` when there is no
    ///   file, `.badData` when it is not a shard or not whole, `.inputOutput` when it cannot be read.
    public init(path: String, layout: Layout = .header) throws {
        let file = try MappedFile(path: path)
        let start: Int
        switch layout {
        case .header:
            (format, count) = try Self.checkedHeader(of: file)
            start = ShardFormat.headerBytes
        case .bare:
            (format, count) = (.narrow, try Self.bareCount(of: file))
            start = 0
        }
        self.path = path
        self.file = file
        tokens = file.bytes.baseAddress! + start
        self.start = start
    }

    public subscript(position: Int) -> Int {
        precondition(position >= 0 && position < count, "token position outside the shard")
        return switch format {
        case .narrow: Int(UInt16(littleEndian: tokens.load(fromByteOffset: 2 * position, as: UInt16.self)))
        case .wide: Int(UInt32(littleEndian: tokens.load(fromByteOffset: 4 * position, as: UInt32.self)))
        }
    }

    /// Copies the tokens at `range`, which must have been validated; `destination` has room for `range.count`.
    public func copy(_ range: Range<Int>, to destination: UnsafeMutablePointer<Int32>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "token range outside the shard")
        let source = tokens + format.tokenBytes * range.lowerBound
        switch format {
        case .narrow:
            let source = source.assumingMemoryBound(to: UInt16.self)
            for index in 0..<range.count { destination[index] = Int32(UInt16(littleEndian: source[index])) }
        case .wide:
            let source = source.assumingMemoryBound(to: UInt32.self)
            for index in 0..<range.count {
                destination[index] = Int32(truncatingIfNeeded: UInt32(littleEndian: source[index]))
            }
        }
    }

    /// Reads every token, or those at `range`, and checks that it is below `vocabSize`.
    ///
    /// - Throws: `LockstepError(.badData)` that names the first token outside the vocabulary and its position.
    public func validate(vocabSize: Int, in range: Range<Int>? = nil) throws {
        guard format == .wide || vocabSize <= Int(UInt16.max) else { return }
        for position in range ?? 0..<count where self[position] >= vocabSize {
            throw LockstepError(
                .badData,
                "\(path), offset \(start + format.tokenBytes * position): token \(position) has id \(self[position]), "
                    + "but model.vocab_size is \(vocabSize), so ids must be below it. Set model.vocab_size to the "
                    + "vocabulary of the tokenizer that made the shard, or make the shard again.")
        }
    }

    private static func bareCount(of file: MappedFile) throws -> Int {
        let bytes = file.bytes.count
        guard bytes > 0, bytes % 2 == 0, bytes / 2 <= ShardFormat.maxTokens else {
            throw LockstepError(
                .badData,
                "\(file.path): expected 16-bit tokens and nothing else (data.format uint16), at most "
                    + "\(ShardFormat.maxTokens) of them, but the file has \(bytes) bytes. Copy or make it again."
            )
        }
        return bytes / 2
    }

    private static func checkedHeader(of file: MappedFile) throws -> (ShardFormat, count: Int) {
        func failure(_ offset: Int, _ text: String) -> LockstepError {
            LockstepError(.badData, "\(file.path), offset \(offset): \(text)")
        }
        func header(_ index: Int) -> Int32 {
            Int32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: 4 * index, as: Int32.self))
        }
        let size = file.bytes.count
        func tooShort() -> LockstepError {
            failure(
                size,
                "the file ends inside the header of a token shard, which has \(ShardFormat.headerBytes) bytes. "
                    + "Copy or make the shard again.")
        }
        guard size >= 4, let format = ShardFormat.allCases.first(where: { $0.magic == header(0) }) else {
            guard size >= 4 else { throw tooShort() }
            throw failure(
                0,
                "expected a token shard that begins with the number \(ShardFormat.narrow.magic) or "
                    + "\(ShardFormat.wide.magic), found \(header(0)). A shard has llm.c's 1024-byte header (nanoGPT's .bin "
                    + "files have none: data.format uint16); plain text must not be named .bin.")
        }
        guard size >= ShardFormat.headerBytes else { throw tooShort() }
        guard header(1) == format.version else {
            throw failure(
                4, "expected version \(format.version) of the token shard format, found \(header(1)).")
        }
        guard header(2) > 0 else {
            throw failure(
                8, "expected a positive number of tokens, found \(header(2)). Make the shard again.")
        }
        let count = Int(header(2))
        let expectedSize = ShardFormat.headerBytes + format.tokenBytes * count
        guard size == expectedSize else {
            throw failure(
                min(size, expectedSize),
                "the header announces \(count) tokens, so the file must have \(expectedSize) bytes, but it has \(size). "
                    + "Copy or make the shard again.")
        }
        return (format, count)
    }
}
