import Configs

/// Documents as token sequences of at most a context each, read one at a time.
///
/// Beside the token shard `NAME.bin` lies the `SampleIndex` `NAME.documents` ("LSDOCS01"): of each sample its first token and
/// the number of its inputs. A sample is a document, or one of the parts of a document that is longer than the context, and
/// never the token that ends it, which follows it in the shard.
final class DocumentShard: Sendable {
    /// Number of samples; at least one.
    var count: Int { index.count }
    let tokens: TokenShard
    private let index: SampleIndex

    fileprivate static let magic: StaticString = "LSDOCS01"

    /// - Parameters:
    ///   - path: of the token shard; the index is beside it.
    ///   - longest: inputs that a sample may have.
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the files are damaged.
    init(path: String, longest: Int) throws {
        tokens = try TokenShard(path: path)
        index = try SampleIndex(path: Self.indexPath(of: path), magic: Self.magic, of: "documents")
        for number in 0..<index.count {
            let (first, length) = try index.entry(number)
            // One more token is the target of the last input.
            guard (1...UInt64(longest)).contains(length), first <= UInt64(tokens.count),
                length < UInt64(tokens.count) - first
            else { throw index.fault("sample \(number) is outside of \(path) or too long") }
        }
    }

    static func indexPath(of path: String) -> String { String(path.dropLast(".bin".count)) + ".documents" }

    /// Where a sample's inputs are in the shard.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the index cannot be read.
    func range(of number: Int) throws -> Range<Int> {
        let (first, length) = try index.entry(number)
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
    ) throws -> Int {
        let range = try range(of: number)
        try tokens.copy(range, to: inputs)
        try tokens.copy(range.lowerBound + 1..<range.upperBound + 1, to: targets)
        let rest = length - range.count
        (inputs + range.count).update(repeating: targets[range.count - 1], count: rest)
        (targets + range.count).update(repeating: PairBatch.noTarget, count: rest)
        return range.count
    }
}

/// Writes the two files of a `DocumentShard`.
struct DocumentShardWriter: ~Copyable {
    private var tokens: TokenShardWriter
    private var index: SampleIndexWriter
    private let end: [Int32]
    private let longest: Int
    private var tokenCount = 0
    /// Samples.
    var count: Int { index.count }

    /// - Parameter longest: inputs that a sample may have.
    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    init(path: String, _ tokenizer: any Tokenizer, longest: Int) throws {
        let index = try SampleIndexWriter(path: DocumentShard.indexPath(of: path), magic: DocumentShard.magic)
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
            try index.append(
                first: tokenCount + start, other: UInt64(min(longest, document.count - start)))
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
