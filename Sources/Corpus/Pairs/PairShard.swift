import Configs

/// Pairs of token sequences, read one at a time.
///
/// Beside the token shard `NAME.bin` lies the `SampleIndex` `NAME.pairs` ("LSPAIRS1"): of each pair its first token and the
/// lengths of source (lower half) and target. In the shard a pair is its source, the separator, its target and the end.
public final class PairShard: Sendable {
    /// Number of pairs; at least one.
    public var count: Int { index.count }
    /// The token between source and target, that of a tab.
    public let separator: Int32
    /// The token behind the target, that of a newline; it also fills up what is too short.
    public let end: Int32
    let tokens: TokenShard
    private let index: SampleIndex

    fileprivate static let magic: StaticString = "LSPAIRS1"

    /// - Parameters:
    ///   - path: of the token shard; the index is beside it.
    ///   - room: that every pair has.
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the files are damaged.
    init(path: String, _ room: PairRoom) throws {
        tokens = try TokenShard(path: path)
        index = try SampleIndex(path: Self.indexPath(of: path), magic: Self.magic, of: "pairs")
        var markers: (separator: Int32, end: Int32)?
        var scan = tokens.scan()
        for number in 0..<index.count {
            let pair = try Self.pair(index.entry(number))
            let length = pair.sourceLength + pair.targetLength + 2
            guard room.holds(source: pair.sourceLength, target: pair.targetLength),
                pair.first <= UInt64(tokens.count),
                length <= tokens.count - Int(pair.first)
            else { throw index.fault("pair \(number) is outside of \(path) or too long") }
            let first = Int(pair.first)
            let found = (
                Int32(try scan.token(at: first + pair.sourceLength)),
                Int32(try scan.token(at: first + length - 1))
            )
            guard markers ?? found == found else {
                throw index.fault("pair \(number) has other markers than the first")
            }
            markers = found
        }
        (separator, end) = markers ?? (0, 0)
    }

    static func indexPath(of path: String) -> String { String(path.dropLast(".bin".count)) + ".pairs" }

    private static func pair(
        _ entry: (first: UInt64, other: UInt64)
    ) -> (first: UInt64, sourceLength: Int, targetLength: Int) {
        (entry.first, Int(UInt32(truncatingIfNeeded: entry.other)), Int(entry.other >> 32))
    }

    /// The places of a pair's source and target in the shard.
    ///
    /// - Throws: `LockstepError(.inputOutput)` when the index cannot be read.
    func ranges(of number: Int) throws -> (source: Range<Int>, target: Range<Int>) {
        let pair = try Self.pair(index.entry(number))
        let first = Int(pair.first)
        let target = first + pair.sourceLength + 1
        return (first..<first + pair.sourceLength, target..<target + pair.targetLength)
    }

    /// A pair as one sequence for a decoder: source, separator, target, end. The loss is on target and end; the rest of the
    /// row is filled up with the end and has no loss.
    ///
    /// - Parameters:
    ///   - inputs: [length], all of the sequence but its last token.
    ///   - targets: [length], the token that follows each input, or −1 where there is no loss.
    func fillSequence(
        _ number: Int, inputs: UnsafeMutablePointer<Int32>, targets: UnsafeMutablePointer<Int32>, length: Int
    ) throws {
        let (source, target) = try ranges(of: number)
        let count = source.count + 1 + target.count
        try tokens.copy(source.lowerBound..<source.lowerBound + count, to: inputs)
        (inputs + count).update(repeating: end, count: length - count)
        targets.update(repeating: PairBatch.noTarget, count: length)
        try tokens.copy(target.lowerBound..<target.upperBound + 1, to: targets + source.count)
    }
}

/// Writes the two files of a `PairShard`.
struct PairShardWriter: ~Copyable {
    private var tokens: TokenShardWriter
    private var index: SampleIndexWriter
    private let separator: Int32
    private let end: Int32
    private var tokenCount = 0
    var count: Int { index.count }

    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    init(path: String, _ tokenizer: any Tokenizer) throws {
        let index = try SampleIndexWriter(path: PairShard.indexPath(of: path), magic: PairShard.magic)
        tokens = try TokenShardWriter(path: path, vocabSize: tokenizer.vocabSize)
        self.index = index
        separator = tokenizer.token(ofByte: 0x09)
        end = tokenizer.token(ofByte: 0x0A)
    }

    /// - Throws: `LockstepError(.inputOutput)`; `.badData` above 2³¹ − 1 tokens.
    mutating func append(source: [Int32], target: [Int32]) throws {
        try index.append(
            first: tokenCount, other: UInt64(target.count) << 32 | UInt64(source.count))
        try tokens.append(source + [separator] + target + [end])
        tokenCount += source.count + target.count + 2
    }

    consuming func finish() throws {
        try tokens.finish()
        try index.finish()
    }
}
