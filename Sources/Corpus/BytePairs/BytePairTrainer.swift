import Configs

/// Learns a byte-level BPE from a text: the most frequent pair of tokens becomes a token, again and again.
///
/// Ids and merges are those of Hugging Face's `BpeTrainer` with an initial alphabet of all bytes: special tokens first, then
/// the bytes in the order of the characters that stand for them, then the merges; of pairs that are equally frequent the one
/// with the smallest ids. Special tokens that stand in the text are left out of it.
public struct BytePairTrainer {
    public var vocabSize: Int
    /// Tokens with the first ids, which no merge touches.
    public var specialTokens: [String]
    /// The least that a pair must come to become a token.
    public var minFrequency: Int

    public static let mostVocabSize = 1 << 20

    /// The special tokens and the bytes, which every vocabulary has.
    public var leastVocabSize: Int { specialTokens.count + 256 }

    public init(vocabSize: Int, specialTokens: [String], minFrequency: Int = 2) {
        self.vocabSize = vocabSize
        self.specialTokens = specialTokens
        self.minFrequency = minFrequency
    }

    /// What a text file teaches, counted on `threads` threads.
    ///
    /// - Throws: `LockstepError`: `.inputMissing`, `.inputOutput`, and `.badData` when the file is empty.
    public func train(path: String, threads: Int) throws -> TrainedVocabulary {
        let text = try MappedFile(path: path, remedy: "Give a text file.")
        guard !text.bytes.isEmpty else { throw LockstepError(.badData, "\(path) is empty. Give a text.") }
        return train(text.bytes, threads: threads)
    }

    func train(_ text: UnsafeRawBufferPointer, threads: Int) -> TrainedVocabulary {
        var tokens = specialTokens.map { Array($0.utf8) }
        var idOfByte = [UInt32](repeating: 0, count: 256)
        for byte in (UInt8.min...UInt8.max).sorted(by: {
            ByteAlphabet.scalars[Int($0)] < ByteAlphabet.scalars[Int($1)]
        }) {
            idOfByte[Int(byte)] = UInt32(tokens.count)
            tokens.append([byte])
        }
        var merging = PairMerging(words: countWords(text, threads: threads), idOfByte: idOfByte)
        var learnt = LearntMerges(tokens: tokens)
        while learnt.tokens.count < vocabSize,
            let frequent = merging.mostFrequentPair(atLeast: max(1, minFrequency))
        {
            merging.merge(frequent, into: learnt.add(frequent.pair))
        }
        return TrainedVocabulary(
            tokens: learnt.tokens, merges: learnt.merges, specialTokens: specialTokens.count)
    }

    private func countWords(_ text: UnsafeRawBufferPointer, threads: Int) -> WordCounter {
        let specials = specialTokens.enumerated().map { number, content in
            AddedTokens.Token(
                id: UInt32(number), content: Array(content.utf8), takesSpaceBefore: false,
                takesSpaceBehind: false, isNormalized: false)
        }
        nonisolated(unsafe) let text = text
        let counters = (0..<max(1, threads)).map { _ in WordCounter() }
        let pieces = TextPieces(text, addedTokens: AddedTokens(specials), cut: .betweenWords)
        // Counting throws nothing.
        try? ParallelJobs(workers: counters).run(PieceJobs(pieces)) { counter, job in
            counter.add(job.pieces, of: text)
        } finish: { _, _ in
        }
        for other in counters.dropFirst() { counters[0].add(other) }
        return counters[0]
    }
}

/// Counts the words of texts.
final class WordCounter {
    private(set) var words = WordTable()
    /// By the number of the word in the table.
    private(set) var counts: [Int] = []

    func add(_ pieces: [TextPiece], of text: UnsafeRawBufferPointer) {
        for case .text(let range, _) in pieces {
            let part = UnsafeRawBufferPointer(rebasing: text[range])
            var splitter = WordSplitter(part)
            while let range = splitter.next() {
                add(UnsafeRawBufferPointer(rebasing: part[range]), count: 1)
            }
        }
    }

    func add(_ other: WordCounter) {
        for number in 0..<other.words.count {
            other.words.withWord(number) { add($0, count: other.counts[number]) }
        }
    }

    private func add(_ word: UnsafeRawBufferPointer, count: Int) {
        let number = words.insert(word)
        if number == counts.count { counts.append(0) }
        counts[number] += count
    }
}

/// The tokens of a vocabulary that grows, and the merges in the order in which they apply.
private struct LearntMerges {
    private(set) var tokens: [[UInt8]]
    private var ids: [[UInt8]: UInt32]
    private var ranks: [TokenPair: Int] = [:]
    private var added = 0

    init(tokens: [[UInt8]]) {
        self.tokens = tokens
        ids = Dictionary(zip(tokens, 0...), uniquingKeysWith: { first, _ in first })
    }

    var merges: [TokenPair] { ranks.sorted { $0.value < $1.value }.map(\.key) }

    /// The token of a pair: a new one, unless other pairs have led to the same bytes.
    mutating func add(_ pair: TokenPair) -> UInt32 {
        // A pair that comes a second time, behind such a token, has its place there.
        ranks[pair] = added
        added += 1
        let bytes = tokens[Int(pair.left)] + tokens[Int(pair.right)]
        if let known = ids[bytes] { return known }
        let id = UInt32(tokens.count)
        tokens.append(bytes)
        ids[bytes] = id
        return id
    }
}
