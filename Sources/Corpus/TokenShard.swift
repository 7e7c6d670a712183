import Configs

/// Layout of a token shard, the `.bin` format of karpathy/llm.c: 256 little-endian Int32 (magic, version, number of
/// tokens, zeros), then the tokens as little-endian UInt16.
enum ShardFormat {
    static let magic: Int32 = 20_240_520
    static let version: Int32 = 1
    static let headerBytes = 1024
    static let maxTokens = Int(Int32.max)
    /// llm.c's format for Llama 3: version 7, UInt32 tokens.
    static let magicOfWideTokens: Int32 = 20_240_801
}

/// A token shard in llm.c's format, memory-mapped and read-only.
public final class TokenShard: Sendable {
    public let path: String
    /// Number of tokens; at least one.
    public let count: Int
    private let file: MappedFile
    private nonisolated(unsafe) let tokens: UnsafePointer<UInt16>

    /// - Throws: `LockstepError` that names the file, the offset and what was expected: `.inputMissing` when there is no
    ///   file, `.badData` when it is not a shard or not whole, `.inputOutput` when it cannot be read.
    public init(path: String) throws {
        let file = try MappedFile(path: path)
        count = try Self.checkedCount(of: file)
        self.path = path
        self.file = file
        tokens = (file.bytes.baseAddress! + ShardFormat.headerBytes).assumingMemoryBound(to: UInt16.self)
    }

    public subscript(position: Int) -> Int {
        precondition(position >= 0 && position < count, "token position outside the shard")
        return Int(UInt16(littleEndian: tokens[position]))
    }

    /// Widens the tokens at `range` to Int32; `destination` has room for `range.count`.
    public func copy(_ range: Range<Int>, to destination: UnsafeMutablePointer<Int32>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "token range outside the shard")
        let source = tokens + range.lowerBound
        for index in 0..<range.count {
            destination[index] = Int32(UInt16(littleEndian: source[index]))
        }
    }

    /// Reads every token, or those at `range`, and checks that it is below `vocabSize`.
    ///
    /// - Throws: `LockstepError(.badData)` that names the first token outside the vocabulary and its position.
    public func validate(vocabSize: Int, in range: Range<Int>? = nil) throws {
        guard vocabSize <= Int(UInt16.max) else { return }
        for position in range ?? 0..<count where self[position] >= vocabSize {
            throw LockstepError(
                .badData,
                "\(path), offset \(ShardFormat.headerBytes + 2 * position): token \(position) has id \(self[position]), "
                    + "but model.vocab_size is \(vocabSize), so ids must be below it. Set model.vocab_size to the "
                    + "vocabulary of the tokenizer that made the shard, or make the shard again.")
        }
    }

    private static func checkedCount(of file: MappedFile) throws -> Int {
        func failure(_ offset: Int, _ text: String) -> LockstepError {
            LockstepError(.badData, "\(file.path), offset \(offset): \(text)")
        }
        func header(_ index: Int) -> Int32 {
            Int32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: 4 * index, as: Int32.self))
        }
        let size = file.bytes.count
        if size >= 4 && header(0) != ShardFormat.magic {
            let found = header(0)
            if found == ShardFormat.magicOfWideTokens {
                throw failure(
                    0, "a shard of 32-bit tokens (llm.c's Llama 3 format); only 16-bit tokens are supported.")
            }
            throw failure(
                0,
                "expected a token shard that begins with the number \(ShardFormat.magic), found \(found). A shard has "
                    + "llm.c's 1024-byte header (nanoGPT's .bin files have none); plain text must not be named .bin."
            )
        }
        guard size >= ShardFormat.headerBytes else {
            throw failure(
                size,
                "the file ends inside the header of a token shard, which has \(ShardFormat.headerBytes) bytes. "
                    + "Copy or make the shard again.")
        }
        guard header(1) == ShardFormat.version else {
            throw failure(
                4, "expected version \(ShardFormat.version) of the token shard format, found \(header(1)).")
        }
        guard header(2) > 0 else {
            throw failure(
                8, "expected a positive number of tokens, found \(header(2)). Make the shard again.")
        }
        let count = Int(header(2))
        let expectedSize = ShardFormat.headerBytes + 2 * count
        guard size == expectedSize else {
            throw failure(
                min(size, expectedSize),
                "the header announces \(count) tokens, so the file must have \(expectedSize) bytes, but it has \(size). "
                    + "Copy or make the shard again.")
        }
        return count
    }
}
