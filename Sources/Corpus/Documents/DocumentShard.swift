import Configs

/// Layout of `NAME.documents`, which says where the samples of the token shard `NAME.bin` are: eight bytes "LSDOCS01", then for
/// each sample its first token (UInt64) and the number of its inputs (UInt64), little-endian. A sample is a document, or one of
/// the parts of a document that is longer than the context, and never the token that ends it, which follows it in the shard.
enum DocumentIndex {
    static let magic = Array("LSDOCS01".utf8)
    static let sampleBytes = 16
}

/// Documents as token sequences of at most a context each, memory-mapped and read-only.
final class DocumentShard: Sendable {
    /// Number of samples; at least one.
    let count: Int
    let tokens: TokenShard
    private let index: MappedFile

    /// - Parameters:
    ///   - path: of the token shard; the index is beside it.
    ///   - longest: inputs that a sample may have.
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the files are damaged.
    init(path: String, longest: Int) throws {
        let indexPath = Self.indexPath(of: path)
        let remedy = "Bring the run's data back, or train again."
        tokens = try TokenShard(path: path)
        index = try MappedFile(path: indexPath, remedy: remedy)
        let bytes = index.bytes
        let head = DocumentIndex.magic.count
        func fault(_ text: String) -> LockstepError {
            LockstepError(.badData, "\(indexPath): \(text). \(remedy)")
        }
        guard bytes.count > head, (bytes.count - head) % DocumentIndex.sampleBytes == 0,
            bytes[..<head].elementsEqual(DocumentIndex.magic)
        else { throw fault("not an index of documents") }
        count = (bytes.count - head) / DocumentIndex.sampleBytes
        for number in 0..<count {
            let (first, length) = Self.sample(number, in: bytes)
            // One more token is the target of the last input.
            guard (1...UInt64(longest)).contains(length), first <= UInt64(tokens.count),
                length < UInt64(tokens.count) - first
            else { throw fault("sample \(number) is outside of \(path) or too long") }
        }
    }

    static func indexPath(of path: String) -> String { String(path.dropLast(".bin".count)) + ".documents" }

    /// Where a sample's inputs are in the shard.
    func range(of number: Int) -> Range<Int> {
        precondition(number >= 0 && number < count, "no such document")
        let (first, length) = Self.sample(number, in: index.bytes)
        return Int(first)..<Int(first + length)
    }

    /// Writes a sample to a row: its inputs, and as targets the tokens that follow each of them. Behind them the row is filled
    /// up with the token that ends the document's part, and has no targets. Returns the number of inputs.
    ///
    /// - Parameters:
    ///   - inputs: [length]
    ///   - targets: [length]
    func fill(
        _ number: Int, inputs: UnsafeMutablePointer<Int32>, targets: UnsafeMutablePointer<Int32>, length: Int
    ) -> Int {
        let range = range(of: number)
        tokens.copy(range, to: inputs)
        tokens.copy(range.lowerBound + 1..<range.upperBound + 1, to: targets)
        let rest = length - range.count
        (inputs + range.count).update(repeating: targets[range.count - 1], count: rest)
        (targets + range.count).update(repeating: PairBatch.noTarget, count: rest)
        return range.count
    }

    private static func sample(
        _ number: Int, in bytes: UnsafeRawBufferPointer
    ) -> (first: UInt64, length: UInt64) {
        let offset = DocumentIndex.magic.count + DocumentIndex.sampleBytes * number
        func word(_ offset: Int) -> UInt64 {
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
        return (word(offset), word(offset + 8))
    }
}

/// Writes the two files of a `DocumentShard`.
struct DocumentShardWriter: ~Copyable {
    private var tokens: TokenShardWriter
    private let index: AtomicFile
    private let end: [Int32]
    private let longest: Int
    private var tokenCount = 0
    /// Samples.
    private(set) var count = 0

    /// - Parameter longest: inputs that a sample may have.
    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    init(path: String, _ tokenizer: any Tokenizer, longest: Int) throws {
        let index = try AtomicFile(path: DocumentShard.indexPath(of: path))
        try DocumentIndex.magic.withUnsafeBytes { try index.write($0) }
        tokens = try TokenShardWriter(path: path, vocabSize: tokenizer.vocabSize)
        self.index = index
        self.longest = longest
        end = tokenizer.documentEnd
    }

    /// Appends a document; an empty one is left out.
    ///
    /// - Throws: `LockstepError(.inputOutput)`; `.badData` above 2³¹ − 1 tokens.
    mutating func append(_ document: [Int32]) throws {
        for start in stride(from: 0, to: document.count, by: longest) {
            let entry = [
                UInt64(tokenCount + start).littleEndian,
                UInt64(min(longest, document.count - start)).littleEndian,
            ]
            try entry.withUnsafeBytes { try index.write($0) }
            count += 1
        }
        guard !document.isEmpty else { return }
        try tokens.append(document + end)
        tokenCount += document.count + end.count
    }

    consuming func finish() throws {
        try tokens.finish()
        try index.finish()
    }
}
