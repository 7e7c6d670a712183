import TestSupport

/// Damages bytes: as a disk does, as an editor does, and as somebody does who knows the formats.
public struct Mutator {
    private var random: SplitMix64

    public init(seed: UInt64) { random = SplitMix64(seed: seed) }

    /// - Parameters:
    ///   - others: of the same format, parts of which get into `bytes`.
    ///   - most: bytes that may come of it.
    public mutating func mutate(_ bytes: inout [UInt8], among others: [[UInt8]] = [], most: Int) {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            switch Int.random(in: 0..<12, using: &random) {
            case 0: flipBit(&bytes)
            case 1: overwrite(&bytes)
            case 2: cut(&bytes)
            case 3: remove(&bytes)
            case 4: insert(&bytes, Self.fragments.randomElement(using: &random)!)
            case 5: duplicate(&bytes)
            case 6: splice(&bytes, others)
            case 7, 8: replaceNumber(&bytes)
            case 9: replaceBinary(&bytes)
            case 10: replaceWord(&bytes)
            default: nest(&bytes)
            }
        }
        if bytes.count > most { bytes.removeLast(bytes.count - most) }
    }

    private mutating func place(in bytes: [UInt8]) -> Int { Int.random(in: 0...bytes.count, using: &random) }

    private mutating func flipBit(_ bytes: inout [UInt8]) {
        guard let index = bytes.indices.randomElement(using: &random) else { return }
        bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
    }

    private mutating func overwrite(_ bytes: inout [UInt8]) {
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            guard let index = bytes.indices.randomElement(using: &random) else { return }
            bytes[index] = .random(in: 0...255, using: &random)
        }
    }

    private mutating func cut(_ bytes: inout [UInt8]) { bytes.removeSubrange(place(in: bytes)...) }

    private mutating func remove(_ bytes: inout [UInt8]) {
        let start = place(in: bytes)
        bytes.removeSubrange(start..<min(bytes.count, start + Int.random(in: 1...64, using: &random)))
    }

    private mutating func insert(_ bytes: inout [UInt8], _ text: String) {
        bytes.insert(contentsOf: text.utf8, at: place(in: bytes))
    }

    private mutating func duplicate(_ bytes: inout [UInt8]) {
        let start = place(in: bytes)
        let part = bytes[start..<min(bytes.count, start + Int.random(in: 1...1024, using: &random))]
        bytes.insert(contentsOf: Array(part), at: place(in: bytes))
    }

    private mutating func splice(_ bytes: inout [UInt8], _ others: [[UInt8]]) {
        guard let other = others.randomElement(using: &random) else { return }
        bytes = Array(bytes[..<place(in: bytes)] + other[place(in: other)...])
    }

    /// Another number in place of one in a text.
    private mutating func replaceNumber(_ bytes: inout [UInt8]) {
        let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) || byte == 0x2e || byte == 0x2d }
        replaceRun(&bytes, of: isDigit, with: Array(Self.numbers.randomElement(using: &random)!.utf8))
    }

    /// Another word, of the text or not, in place of one.
    private mutating func replaceWord(_ bytes: inout [UInt8]) {
        let isLetter = { (byte: UInt8) in
            (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || byte == 0x5f
        }
        let other = Array(Self.words.randomElement(using: &random)!.utf8)
        replaceRun(&bytes, of: isLetter, with: other)
    }

    /// The run of bytes behind a random place that are as `belongs` says.
    private mutating func replaceRun(_ bytes: inout [UInt8], of belongs: (UInt8) -> Bool, with other: [UInt8])
    {
        let from = place(in: bytes)
        guard let start = bytes[from...].firstIndex(where: belongs) else { return }
        let end = bytes[start...].firstIndex { !belongs($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: other)
    }

    /// Another length, count or offset in a binary header.
    private mutating func replaceBinary(_ bytes: inout [UInt8]) {
        let size = UInt64(bytes.count)
        let values: [UInt64] = [
            0, 1, 1 << 31, 1 << 32, 1 << 53, 1 << 63, .max, .max >> 1, size, size &- 8, (size &- 1024) / 2,
        ]
        let width = Bool.random(using: &random) ? 4 : 8
        let start = [0, 4, 8, place(in: bytes)].randomElement(using: &random)!
        guard start + width <= bytes.count else { return }
        let value = values.randomElement(using: &random)!
        for index in 0..<width {
            bytes[start + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }

    private mutating func nest(_ bytes: inout [UInt8]) {
        let unit = ["[", "{\"a\":", "{a: ", "- ", "[{"].randomElement(using: &random)!
        let depth = [10, 500, 513, 10_000].randomElement(using: &random)!
        let place = [0, bytes.count, place(in: bytes)].randomElement(using: &random)!
        bytes.insert(contentsOf: String(repeating: unit, count: depth).utf8, at: place)
    }

    private static let numbers = [
        "0", "-1", "1", "2", "0.5", "-0.0", "1e308", "1e-320", "1e999", "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808", "9007199254740993", "4611686018427387904", "99999999999999999999",
        "4294967296", "2147483647",
        "1000000000", "1048576", "007", "NaN", "null", "\"x\"", "[]", "{}", "true",
    ]
    private static let words = [
        "", "null", "true", "inf", "nan", "..", "/", "\0", "a/b", "%s%n", "&a *a", "!!binary", "ü\u{202e}",
        "\\ud800", "\\n",
        String(repeating: "A", count: 3000),
    ]
    private static let fragments = [
        ":", ": ", "- ", "? ", "{", "}", "[", "]", ",", "\"", "'", "#", "%", "\\", "\n", "  ", "\t", "\r",
        "\0", "=", ".",
        "&a ", "*a", "!!map ", "|\n", ">", "<<: ", "---\n", "...\n", "!<x> ", "~", "\u{85}", "\u{2028}",
        "\u{feff}",
        "\u{d7ff}", "e\u{301}", "\"\\ud800\"", "\"\\U0010FFFF\"", ",{}", ",\"a\":1", "\u{1b}[2J",
    ]
}
