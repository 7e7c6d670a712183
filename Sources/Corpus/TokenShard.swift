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

/// A token shard in llm.c's format, read a range of tokens at a time.
public final class TokenShard: Sendable {
    public let path: String
    /// Number of tokens; at least one.
    public let count: Int
    private let file: ReadableFile
    /// Of the tokens in the file, in bytes.
    private let start: Int
    private let format: ShardFormat

    public enum Layout: Sendable {
        /// llm.c's: behind a header.
        case header
        /// nanoGPT's: nothing but tokens of 16 bits.
        case bare
    }

    /// - Throws: `LockstepError` that names the file, the offset and what was expected: `.inputMissing` when there is no
    ///   file, `.badData` when it is not a shard or not whole, `.inputOutput` when it cannot be read.
    public init(path: String, layout: Layout = .header) throws {
        let file = try ReadableFile(path: path)
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
        self.start = start
    }

    /// Copies the tokens at `range`, which must have been validated; `destination` has room for `range.count`. Allocates
    /// nothing.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the file cannot be read, or is no longer whole.
    public func copy(_ range: Range<Int>, to destination: UnsafeMutablePointer<Int32>) throws {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "token range outside the shard")
        let bytes = UnsafeMutableRawBufferPointer(start: destination, count: 4 * range.count)
        let offset = start + format.tokenBytes * range.lowerBound
        switch format {
        case .narrow:
            // Into the end of the room, from where they are widened front to back.
            let source = UnsafeMutableRawBufferPointer(rebasing: bytes[(2 * range.count)...])
            try file.read(into: source, at: offset)
            for index in 0..<range.count {
                let token = source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)
                destination[index] = Int32(UInt16(littleEndian: token))
            }
        case .wide:
            try file.read(into: bytes, at: offset)
            for index in 0..<range.count { destination[index] = Int32(littleEndian: destination[index]) }
        }
    }

    /// Tokens for who goes over all of them.
    struct Scan {
        fileprivate let shard: TokenShard
        fileprivate var window: FileWindow

        /// - Throws: as `copy`.
        mutating func token(at position: Int) throws -> Int {
            precondition(position >= 0 && position < shard.count, "token position outside the shard")
            let offset = shard.start + shard.format.tokenBytes * position
            return switch shard.format {
            case .narrow: try Int(window.number(UInt16.self, at: offset))
            case .wide: try Int(window.number(UInt32.self, at: offset))
            }
        }
    }

    func scan() -> Scan { Scan(shard: self, window: FileWindow(file)) }

    /// Reads every token, or those at `range`, and checks that it is below `vocabSize`.
    ///
    /// - Throws: `LockstepError`: `.badData` that names the first token outside the vocabulary and its position, and as `copy`.
    public func validate(vocabSize: Int, in range: Range<Int>? = nil) throws {
        guard format == .wide || vocabSize <= Int(UInt16.max) else { return }
        var scan = scan()
        for position in range ?? 0..<count {
            let token = try scan.token(at: position)
            guard token >= vocabSize else { continue }
            throw LockstepError(
                .badData,
                "\(path), offset \(start + format.tokenBytes * position): token \(position) has id \(token), "
                    + "but model.vocab_size is \(vocabSize), so ids must be below it. Set model.vocab_size to the "
                    + "vocabulary of the tokenizer that made the shard, or make the shard again.")
        }
    }

    private static func bareCount(of file: ReadableFile) throws -> Int {
        let bytes = file.size
        guard bytes > 0, bytes % 2 == 0, bytes / 2 <= ShardFormat.maxTokens else {
            throw LockstepError(
                .badData,
                "\(file.path): expected 16-bit tokens and nothing else (data.format uint16), at most "
                    + "\(ShardFormat.maxTokens) of them, but the file has \(bytes) bytes. Copy or make it again."
            )
        }
        return bytes / 2
    }

    private static func checkedHeader(of file: ReadableFile) throws -> (ShardFormat, count: Int) {
        func failure(_ offset: Int, _ text: String) -> LockstepError {
            LockstepError(.badData, "\(file.path), offset \(offset): \(text)")
        }
        var window = FileWindow(file)
        func header(_ index: Int) throws -> Int32 { try window.number(Int32.self, at: 4 * index) }
        let size = file.size
        func tooShort() -> LockstepError {
            failure(
                size,
                "the file ends inside the header of a token shard, which has \(ShardFormat.headerBytes) bytes. "
                    + "Copy or make the shard again.")
        }
        guard size >= 4 else { throw tooShort() }
        let magic = try header(0)
        guard let format = ShardFormat.allCases.first(where: { $0.magic == magic }) else {
            throw failure(
                0,
                "expected a token shard that begins with the number \(ShardFormat.narrow.magic) or "
                    + "\(ShardFormat.wide.magic), found \(magic). A shard has llm.c's 1024-byte header (nanoGPT's .bin "
                    + "files have none: data.format uint16); plain text must not be named .bin.")
        }
        guard size >= ShardFormat.headerBytes else { throw tooShort() }
        let version = try header(1)
        guard version == format.version else {
            throw failure(
                4, "expected version \(format.version) of the token shard format, found \(version).")
        }
        let count = try Int(header(2))
        guard count > 0 else {
            throw failure(8, "expected a positive number of tokens, found \(count). Make the shard again.")
        }
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
