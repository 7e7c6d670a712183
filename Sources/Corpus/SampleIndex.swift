import Configs

/// The file beside a token shard that says where its samples are: eight bytes that name what they are, then for each sample
/// two little-endian UInt64, the first of which is its first token.
struct SampleIndex: Sendable {
    let path: String
    /// Number of samples; at least one.
    let count: Int
    private let file: ReadableFile

    private static let headBytes = 8
    private static let entryBytes = 16
    private static let remedy = "Bring the run's data back, or train again."

    /// - Parameters:
    ///   - magic: the eight bytes that it begins with.
    ///   - content: what its samples are, for people.
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when it is no such index.
    init(path: String, magic: StaticString, of content: String) throws {
        self.path = path
        file = try ReadableFile(path: path, remedy: Self.remedy)
        count = (file.size - Self.headBytes) / Self.entryBytes
        guard file.size > Self.headBytes, (file.size - Self.headBytes) % Self.entryBytes == 0 else {
            throw fault("not an index of \(content)")
        }
        var head = [UInt8](repeating: 0, count: Self.headBytes)
        try head.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        guard head == Self.head(magic) else { throw fault("not an index of \(content)") }
    }

    /// What is wrong with the index, for `throw`.
    func fault(_ text: String) -> LockstepError {
        LockstepError(.badData, "\(path): \(text). \(Self.remedy)")
    }

    /// Allocates nothing.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the file cannot be read, or is no longer whole.
    func entry(_ number: Int) throws -> (first: UInt64, other: UInt64) {
        precondition(number >= 0 && number < count, "no such sample")
        var words = SIMD2<UInt64>()
        try withUnsafeMutableBytes(of: &words) {
            try file.read(into: $0, at: Self.headBytes + Self.entryBytes * number)
        }
        return (UInt64(littleEndian: words.x), UInt64(littleEndian: words.y))
    }

    fileprivate static func head(_ magic: StaticString) -> [UInt8] {
        magic.withUTF8Buffer { bytes in
            precondition(bytes.count == headBytes, "\(magic) is not of \(headBytes) bytes")
            return Array(bytes)
        }
    }
}

/// Writes a `SampleIndex`.
struct SampleIndexWriter: ~Copyable {
    private let file: AtomicFile
    private(set) var count = 0

    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    init(path: String, magic: StaticString) throws {
        let file = try AtomicFile(path: path)
        try SampleIndex.head(magic).withUnsafeBytes { try file.write($0) }
        self.file = file
    }

    mutating func append(first: Int, other: UInt64) throws {
        try [UInt64(first).littleEndian, other.littleEndian].withUnsafeBytes { try file.write($0) }
        count += 1
    }

    consuming func finish() throws { try file.finish() }
}
