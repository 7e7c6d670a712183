import Configs

/// Layout of `NAME.pairs`, which says where the pairs of the token shard `NAME.bin` are: eight bytes "LSPAIRS1", then for
/// each pair its first token (UInt64) and the lengths of source and target (UInt32 each), little-endian. In the shard a pair
/// is its source, the separator, its target and the end.
enum PairIndex {
    static let magic = Array("LSPAIRS1".utf8)
    static let pairBytes = 16
}

/// Pairs of token sequences, memory-mapped and read-only.
public final class PairShard: Sendable {
    /// Number of pairs; at least one.
    public let count: Int
    /// The token between source and target, that of a tab.
    public let separator: Int32
    /// The token behind the target, that of a newline; it also fills up what is too short.
    public let end: Int32
    let tokens: TokenShard
    private let index: MappedFile

    /// - Parameters:
    ///   - path: of the token shard; the index is beside it.
    ///   - room: that every pair has.
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the files are damaged.
    init(path: String, _ room: PairRoom) throws {
        let indexPath = Self.indexPath(of: path)
        let remedy = "Bring the run's data back, or train again."
        tokens = try TokenShard(path: path)
        index = try MappedFile(path: indexPath, remedy: remedy)
        let bytes = index.bytes
        let head = PairIndex.magic.count
        func fault(_ text: String) -> LockstepError {
            LockstepError(.badData, "\(indexPath): \(text). \(remedy)")
        }
        guard bytes.count > head, (bytes.count - head) % PairIndex.pairBytes == 0,
            bytes[..<head].elementsEqual(PairIndex.magic)
        else { throw fault("not an index of pairs") }
        count = (bytes.count - head) / PairIndex.pairBytes
        var markers: (separator: Int32, end: Int32)?
        for number in 0..<count {
            let pair = Self.pair(number, in: bytes)
            let length = pair.sourceLength + pair.targetLength + 2
            guard room.holds(source: pair.sourceLength, target: pair.targetLength),
                pair.first <= UInt64(tokens.count),
                length <= tokens.count - Int(pair.first)
            else { throw fault("pair \(number) is outside of \(path) or too long") }
            let first = Int(pair.first)
            let found = (Int32(tokens[first + pair.sourceLength]), Int32(tokens[first + length - 1]))
            guard markers ?? found == found else {
                throw fault("pair \(number) has other markers than the first")
            }
            markers = found
        }
        (separator, end) = markers ?? (0, 0)
    }

    static func indexPath(of path: String) -> String { String(path.dropLast(".bin".count)) + ".pairs" }

    private static func pair(
        _ number: Int, in bytes: UnsafeRawBufferPointer
    ) -> (first: UInt64, sourceLength: Int, targetLength: Int) {
        let offset = PairIndex.magic.count + PairIndex.pairBytes * number
        func length(_ offset: Int) -> Int {
            Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        }
        return (
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
            length(offset + 8), length(offset + 12)
        )
    }

    /// The places of a pair's source and target in the shard.
    func ranges(of number: Int) -> (source: Range<Int>, target: Range<Int>) {
        precondition(number >= 0 && number < count, "no such pair")
        let pair = Self.pair(number, in: index.bytes)
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
    ) {
        let (source, target) = ranges(of: number)
        let count = source.count + 1 + target.count
        tokens.copy(source.lowerBound..<source.lowerBound + count, to: inputs)
        (inputs + count).update(repeating: end, count: length - count)
        targets.update(repeating: PairBatch.noTarget, count: length)
        tokens.copy(target.lowerBound..<target.upperBound + 1, to: targets + source.count)
    }
}

/// Writes the two files of a `PairShard`.
struct PairShardWriter: ~Copyable {
    private var tokens: TokenShardWriter
    private let index: AtomicFile
    private let separator: Int32
    private let end: Int32
    private var tokenCount = 0
    private(set) var count = 0

    /// - Throws: `LockstepError`: `.cannotCreate`, `.inputOutput`.
    init(path: String, _ tokenizer: any Tokenizer) throws {
        let index = try AtomicFile(path: PairShard.indexPath(of: path))
        try PairIndex.magic.withUnsafeBytes { try index.write($0) }
        tokens = try TokenShardWriter(path: path, vocabSize: tokenizer.vocabSize)
        self.index = index
        separator = tokenizer.token(ofByte: 0x09)
        end = tokenizer.token(ofByte: 0x0A)
    }

    /// - Throws: `LockstepError(.inputOutput)`; `.badData` above 2³¹ − 1 tokens.
    mutating func append(source: [Int32], target: [Int32]) throws {
        let entry = [
            UInt64(tokenCount).littleEndian, (UInt64(target.count) << 32 | UInt64(source.count)).littleEndian,
        ]
        try entry.withUnsafeBytes { try index.write($0) }
        try tokens.append(source + [separator] + target + [end])
        tokenCount += source.count + target.count + 2
        count += 1
    }

    consuming func finish() throws {
        try tokens.finish()
        try index.finish()
    }
}
