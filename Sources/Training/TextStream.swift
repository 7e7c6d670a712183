/// The bytes of a text that is being generated on their way to a reader: whole characters only, and none of a stop string.
package struct TextStream {
    private let stops: [[UInt8]]
    /// Bytes that may yet become part of a character or a stop string.
    private var held: [UInt8] = []

    /// The text ends before the first of `stops`.
    package init(stops: [String]) { self.stops = stops.map { Array($0.utf8) } }

    /// Takes `bytes` and returns what can be shown, and whether the text has come to a stop string.
    package mutating func add(_ bytes: [UInt8]) -> (text: [UInt8], isStopped: Bool) {
        held += bytes
        if let end = firstStop() {
            defer { held = [] }
            return (Array(held[..<end]), true)
        }
        let shown = held.count - max(beginningOfStop(), Self.beginningOfCharacter(held))
        defer { held.removeFirst(shown) }
        return (Array(held[..<shown]), false)
    }

    /// What was held back when no more comes.
    package mutating func finish() -> [UInt8] {
        defer { held = [] }
        return held
    }

    private func firstStop() -> Int? {
        held.indices.first { start in stops.contains { held[start...].starts(with: $0) } }
    }

    /// Bytes at the end that a stop string begins with.
    private func beginningOfStop() -> Int {
        let longest = stops.map { $0.count - 1 }.max() ?? 0
        return (0...min(longest, held.count)).last { count in
            count == 0 || stops.contains { $0.starts(with: held.suffix(count)) }
        } ?? 0
    }

    /// Bytes at the end of `bytes` that begin a character of UTF-8 without ending it.
    private static func beginningOfCharacter(_ bytes: [UInt8]) -> Int {
        for count in 1...4 where count <= bytes.count {
            let byte = bytes[bytes.count - count]
            switch byte {
            case 0x80...0xBF: continue
            case 0xC2...0xDF: return count < 2 ? count : 0
            case 0xE0...0xEF: return count < 3 ? count : 0
            case 0xF0...0xF4: return count < 4 ? count : 0
            default: return 0
            }
        }
        return 0
    }
}
