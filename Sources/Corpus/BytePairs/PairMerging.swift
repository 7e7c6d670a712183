/// Two tokens side by side.
struct TokenPair: Hashable, Comparable {
    let left: UInt32
    let right: UInt32

    static func < (a: Self, b: Self) -> Bool { (a.left, a.right) < (b.left, b.right) }
}

/// Words as tokens, how often each pair of tokens stands in them, and where.
struct PairMerging {
    /// The tokens of all words one after the other; a word keeps its place and gets shorter.
    private var symbols: [UInt32] = []
    private var starts: [Int] = []
    private var lengths: [Int] = []
    private let wordCounts: [Int]

    private var pairs: [TokenPair: Int] = [:]
    /// By the number that `pairs` gives.
    private var pairsInOrder: [TokenPair] = []
    private var pairCounts: [Int] = []
    /// Words that a pair has come to since it was queued last, by the number of the pair.
    private var newPlaces: [[Int32]] = []
    /// Pairs that have any.
    private var touched: [Int] = []
    private var queue = PriorityQueue<Candidate>()
    /// Words of each candidate of the queue.
    private var places: [[Int32]] = []

    /// What the queue has of a pair. Its count may have fallen since.
    private struct Candidate: Comparable {
        var count: Int
        let pair: TokenPair
        let number: Int
        let places: Int

        /// The most frequent first; of several, that of the smallest ids.
        static func < (a: Self, b: Self) -> Bool {
            a.count == b.count ? a.pair < b.pair : a.count > b.count
        }
    }

    /// - Parameter idOfByte: the token of each byte.
    init(words: WordCounter, idOfByte: [UInt32]) {
        wordCounts = words.counts
        for number in 0..<words.words.count {
            words.words.withWord(number) { word in
                starts.append(symbols.count)
                lengths.append(word.count)
                for byte in word { symbols.append(idOfByte[Int(byte)]) }
            }
        }
        for word in starts.indices {
            for index in starts[word] + 1..<max(starts[word] + 1, starts[word] + lengths[word]) {
                change(TokenPair(left: symbols[index - 1], right: symbols[index]), by: 1, in: word)
            }
        }
        queueTouched()
    }

    /// The pair that comes most often; nil when none comes `atLeast` times. It is in the queue no longer.
    mutating func mostFrequentPair(atLeast least: Int) -> FrequentPair? {
        while var top = queue.pop() {
            let count = pairCounts[top.number]
            guard top.count == count else {
                top.count = count
                queue.push(top)
                continue
            }
            guard count >= least else { return nil }
            return FrequentPair(pair: top.pair, places: top.places)
        }
        return nil
    }

    struct FrequentPair {
        let pair: TokenPair
        fileprivate let places: Int
    }

    /// Makes `token` of the pair wherever it stands, from left to right.
    mutating func merge(_ frequent: FrequentPair, into token: UInt32) {
        let pair = frequent.pair
        for word in places[frequent.places] { merge(pair, into: token, in: Int(word)) }
        places[frequent.places] = []
        queueTouched()
    }

    private mutating func merge(_ pair: TokenPair, into token: UInt32, in word: Int) {
        let start = starts[word]
        var length = lengths[word]
        var index = 0
        while index + 1 < length {
            guard symbols[start + index] == pair.left, symbols[start + index + 1] == pair.right else {
                index += 1
                continue
            }
            symbols[start + index] = token
            for later in start + index + 1..<start + length - 1 { symbols[later] = symbols[later + 1] }
            length -= 1
            if index > 0 {
                let before = symbols[start + index - 1]
                change(TokenPair(left: before, right: pair.left), by: -1, in: word)
                change(TokenPair(left: before, right: token), by: 1, in: word)
            }
            if index + 1 < length {
                let behind = symbols[start + index + 1]
                change(TokenPair(left: pair.right, right: behind), by: -1, in: word)
                change(TokenPair(left: token, right: behind), by: 1, in: word)
            }
            index += 1
        }
        lengths[word] = length
    }

    private mutating func change(_ pair: TokenPair, by change: Int, in word: Int) {
        let number = pairs[pair] ?? pairCounts.count
        if number == pairCounts.count {
            pairs[pair] = number
            pairsInOrder.append(pair)
            pairCounts.append(0)
            newPlaces.append([])
        }
        pairCounts[number] += change * wordCounts[word]
        guard change > 0, newPlaces[number].last != Int32(word) else { return }
        if newPlaces[number].isEmpty { touched.append(number) }
        newPlaces[number].append(Int32(word))
    }

    private mutating func queueTouched() {
        for number in touched where pairCounts[number] > 0 {
            queue.push(
                Candidate(
                    count: pairCounts[number], pair: pairsInOrder[number], number: number,
                    places: places.count))
            places.append(newPlaces[number])
        }
        for number in touched { newPlaces[number] = [] }
        touched.removeAll(keepingCapacity: true)
    }
}
