import Glibc

/// Words, as bytes, numbered in the order in which they came.
struct WordTable {
    private(set) var count = 0
    private var bytes: [UInt8] = []
    /// Where each word begins, and where the last one ends.
    private var starts: [Int] = [0]
    private var hashes: [UInt32] = []
    /// Number of a word + 1, or 0; found by linear probing.
    private var slots = [UInt32](repeating: 0, count: 1 << 10)

    /// The number of a word.
    func find(_ word: UnsafeRawBufferPointer) -> Int? {
        let slot = slots[slotIndex(of: word, hash: Self.hash(word))]
        return slot == 0 ? nil : Int(slot - 1)
    }

    /// The number of a word, which is `count` − 1 and new if the table did not have it.
    mutating func insert(_ word: UnsafeRawBufferPointer) -> Int {
        let hash = Self.hash(word)
        let index = slotIndex(of: word, hash: hash)
        if slots[index] != 0 { return Int(slots[index] - 1) }
        bytes.append(contentsOf: word)
        starts.append(bytes.count)
        hashes.append(hash)
        count += 1
        slots[index] = UInt32(count)
        if 2 * count > slots.count { grow() }
        return count - 1
    }

    func withWord<R>(_ number: Int, _ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try bytes.withUnsafeBytes {
            try body(UnsafeRawBufferPointer(rebasing: $0[starts[number]..<starts[number + 1]]))
        }
    }

    mutating func removeAll() { self = WordTable() }

    /// Where the word is, or where it would be.
    private func slotIndex(of word: UnsafeRawBufferPointer, hash: UInt32) -> Int {
        var index = Int(hash) & (slots.count - 1)
        while slots[index] != 0 {
            let number = Int(slots[index] - 1)
            let start = starts[number]
            if hashes[number] == hash, starts[number + 1] - start == word.count,
                word.isEmpty
                    || bytes.withUnsafeBytes({
                        memcmp($0.baseAddress! + start, word.baseAddress!, word.count) == 0
                    })
            {
                return index
            }
            index = (index + 1) & (slots.count - 1)
        }
        return index
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: 2 * slots.count)
        for number in 0..<count {
            var index = Int(hashes[number]) & (slots.count - 1)
            while slots[index] != 0 { index = (index + 1) & (slots.count - 1) }
            slots[index] = UInt32(number + 1)
        }
    }

    /// Eight bytes at a time by a multiplication.
    private static func hash(_ word: UnsafeRawBufferPointer) -> UInt32 {
        var hash = UInt64(word.count) &* 0x9E37_79B9_7F4A_7C15
        var position = 0
        while position < word.count {
            var part: UInt64 = 0
            if position + 8 <= word.count {
                part = word.loadUnaligned(fromByteOffset: position, as: UInt64.self)
            } else {
                for byte in word[position...] { part = part << 8 | UInt64(byte) }
            }
            hash = (hash ^ part) &* 0xD6E8_FEB8_6659_FD93
            hash ^= hash >> 32
            position += 8
        }
        return UInt32(truncatingIfNeeded: hash)
    }
}
