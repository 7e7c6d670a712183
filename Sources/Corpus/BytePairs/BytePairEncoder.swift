/// Encodes pieces of text with a `BytePairTokenizer`, one after the other on one thread; remembers words that it has seen.
package final class BytePairEncoder: PieceEncoder {
    private let tokenizer: BytePairTokenizer
    private var known = WordTable()
    /// Where the tokens of each known word begin in `knownTokens`, and where the last ones end.
    private var knownStarts: [Int] = [0]
    private var knownTokens: [Int32] = []
    private var ids: [UInt32] = []
    private var pairs: [MergeTable.Merge] = []
    private var prefixed: [UInt8] = []

    /// Longer words are hardly met twice.
    private static let longestKnown = 64
    private static let mostKnown = 1 << 17
    /// Words up to here are looked through for the next merge, longer ones have a queue.
    package static let longestScanned = 48

    package init(_ tokenizer: BytePairTokenizer) {
        self.tokenizer = tokenizer
    }

    package func encode(_ piece: TextPiece, of text: UnsafeRawBufferPointer, into tokens: inout [Int32]) {
        switch piece {
        case .token(let id): tokens.append(Int32(id))
        case .text(let range, let beginsSegment):
            let part = UnsafeRawBufferPointer(rebasing: text[range])
            if beginsSegment && tokenizer.addsPrefixSpace && part.first != 0x20 {
                prefixed = [0x20] + part
                prefixed.withUnsafeBytes { encodeWords($0, into: &tokens) }
                prefixed = []
            } else {
                encodeWords(part, into: &tokens)
            }
        }
    }

    private func encodeWords(_ text: UnsafeRawBufferPointer, into tokens: inout [Int32]) {
        guard tokenizer.splitsWords else {
            if !text.isEmpty { encodeWord(text, into: &tokens) }
            return
        }
        var words = WordSplitter(text)
        while let range = words.next() {
            encodeWord(UnsafeRawBufferPointer(rebasing: text[range]), into: &tokens)
        }
    }

    private func encodeWord(_ word: UnsafeRawBufferPointer, into tokens: inout [Int32]) {
        guard word.count > 1 else {
            tokens.append(Int32(tokenizer.byteTokens[Int(word[0])]))
            return
        }
        guard word.count <= Self.longestKnown else {
            merge(word)
            tokens.append(contentsOf: ids.lazy.map(Int32.init))
            return
        }
        if known.count == Self.mostKnown {
            known.removeAll()
            knownStarts = [0]
            knownTokens = []
        }
        let number = known.insert(word)
        if number == knownStarts.count - 1 {
            merge(word)
            knownTokens.append(contentsOf: ids.lazy.map(Int32.init))
            knownStarts.append(knownTokens.count)
        }
        for index in knownStarts[number]..<knownStarts[number + 1] { tokens.append(knownTokens[index]) }
    }

    /// Leaves the tokens of `word` in `ids`.
    private func merge(_ word: UnsafeRawBufferPointer) {
        ids.removeAll(keepingCapacity: true)
        if tokenizer.wholeWords.table.count > 0, let number = tokenizer.wholeWords.table.find(word) {
            ids.append(tokenizer.wholeWords.ids[number])
            return
        }
        mergeBytes(of: word, byQueue: word.count > Self.longestScanned)
    }

    /// The tokens of a word by either way of merging, which are the same.
    package func tokens(of word: UnsafeRawBufferPointer, byQueue: Bool) -> [UInt32] {
        ids.removeAll()
        mergeBytes(of: word, byQueue: byQueue)
        return ids
    }

    private func mergeBytes(of word: UnsafeRawBufferPointer, byQueue: Bool) {
        for byte in word { ids.append(tokenizer.byteTokens[Int(byte)]) }
        if byQueue { mergeByQueue() } else { mergeByScanning() }
    }

    /// The merge of the smallest rank, of several places the first one, until there is none.
    private func mergeByScanning() {
        let merges = tokenizer.merges
        pairs.removeAll(keepingCapacity: true)
        for index in 1..<ids.count { pairs.append(merges[ids[index - 1], ids[index]]) }
        while true {
            var (best, place) = (MergeTable.none, 0)
            for index in pairs.indices where pairs[index] < best { (best, place) = (pairs[index], index) }
            guard best != MergeTable.none else { return }
            ids[place] = MergeTable.token(of: best)
            ids.remove(at: place + 1)
            pairs.remove(at: place)
            if place < pairs.count { pairs[place] = merges[ids[place], ids[place + 1]] }
            if place > 0 { pairs[place - 1] = merges[ids[place - 1], ids[place]] }
        }
    }

    /// The same in n log n.
    private func mergeByQueue() {
        let merges = tokenizer.merges
        let end = ids.count
        // What is left of the word is a list; a token that has gone into the one before it has no next.
        var next = Array(1...end)
        var previous = Array(-1..<end - 1)
        var queue = PriorityQueue<PlacedMerge>()
        func add(at place: Int) {
            guard next[place] < end else { return }
            let merge = merges[ids[place], ids[next[place]]]
            if merge != MergeTable.none { queue.push(PlacedMerge(merge: merge, place: place)) }
        }
        for place in 0..<end { add(at: place) }
        while let top = queue.pop() {
            let place = top.place
            guard next[place] >= 0, next[place] < end, merges[ids[place], ids[next[place]]] == top.merge
            else {
                continue
            }
            let gone = next[place]
            ids[place] = MergeTable.token(of: top.merge)
            next[place] = next[gone]
            next[gone] = -1
            if next[place] < end { previous[next[place]] = place }
            add(at: place)
            if previous[place] >= 0 { add(at: previous[place]) }
        }
        var kept = 0
        var place = 0
        while place < end {
            ids[kept] = ids[place]
            kept += 1
            place = next[place]
        }
        ids.removeLast(end - kept)
    }

    private struct PlacedMerge: Comparable {
        let merge: MergeTable.Merge
        let place: Int

        static func < (a: Self, b: Self) -> Bool { (a.merge, a.place) < (b.merge, b.place) }
    }
}
