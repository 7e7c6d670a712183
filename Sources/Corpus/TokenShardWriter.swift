import Configs

/// Writes a token shard piece by piece. The file appears under its name, whole and on disk, when `finish` returns;
/// without `finish` nothing is left behind.
public struct TokenShardWriter: ~Copyable {
    private let path: String
    private let file: AtomicFile
    private let format: ShardFormat
    private let layout: TokenShard.Layout
    private var count = 0

    /// - Parameter vocabSize: what all ids are below; above 65,536 they take 32 bits each.
    /// - Throws: `LockstepError`: `.cannotCreate` when the folder cannot be written, `.inputOutput` when the disk is full.
    public init(path: String, vocabSize: Int = 1 << 16, layout: TokenShard.Layout = .header) throws {
        let file = try AtomicFile(path: path)
        // The header is known at the end.
        if layout == .header {
            try [UInt8](repeating: 0, count: ShardFormat.headerBytes).withUnsafeBytes { try file.write($0) }
        }
        self.layout = layout
        self.file = file
        self.path = path
        format = ShardFormat(vocabSize: vocabSize)
    }

    /// - Throws: `LockstepError(.inputOutput)`, for example when the disk is full; `.badData` above 2³¹ − 1 tokens.
    public mutating func append(_ tokens: [some FixedWidthInteger]) throws {
        count += tokens.count
        guard count <= ShardFormat.maxTokens else {
            throw LockstepError(
                .badData,
                "\(path): a token shard holds at most \(ShardFormat.maxTokens) tokens. Use a smaller corpus.")
        }
        switch format {
        case .narrow:
            try tokens.map { UInt16($0).littleEndian }.withUnsafeBytes { try file.write($0) }
        case .wide:
            try tokens.map { UInt32($0).littleEndian }.withUnsafeBytes { try file.write($0) }
        }
    }

    /// Puts the finished shard in its place, over a file of the same name.
    public consuming func finish() throws {
        guard layout == .header else {
            try file.finish()
            return
        }
        var header = [Int32](repeating: 0, count: ShardFormat.headerBytes / 4)
        header[0] = format.magic.littleEndian
        header[1] = format.version.littleEndian
        header[2] = Int32(count).littleEndian
        try header.withUnsafeBytes { try file.write($0, at: 0) }
        try file.finish()
    }
}
