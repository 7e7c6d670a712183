/// GPT-2's pre-tokenization: a text as words within which bytes are paired.
///
/// By hand what the regular expression of Radford et al. (2019) says,
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
package struct WordSplitter {
    private let text: UnsafeRawBufferPointer
    private var position = 0

    package init(_ text: UnsafeRawBufferPointer) {
        self.text = text
    }

    /// The next word, as offsets into the text; nil at its end.
    package mutating func next() -> Range<Int>? {
        guard position < text.count else { return nil }
        let start = position
        let contraction = contractionLength
        if contraction > 0 {
            position += contraction
            return start..<position
        }
        var (kind, length) = ScalarClass.read(text, at: start)
        if text[start] == 0x20, start + 1 < text.count {
            let (following, followingLength) = ScalarClass.read(text, at: start + 1)
            if following != .space { (kind, length) = (following, 1 + followingLength) }
        }
        position += length
        var lastLength = length
        while position < text.count {
            let (following, followingLength) = ScalarClass.read(text, at: position)
            guard following == kind else {
                // A word takes the last one of several spaces with it, or that is a word of its own.
                if kind == .space && position - lastLength > start { position -= lastLength }
                break
            }
            position += followingLength
            lastLength = followingLength
        }
        return start..<position
    }

    private var contractionLength: Int {
        guard text[position] == UInt8(ascii: "'"), position + 1 < text.count else { return 0 }
        switch text[position + 1] {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"):
            return isE(at: position + 2) ? 3 : 0
        case UInt8(ascii: "l"):
            return position + 2 < text.count && text[position + 2] == UInt8(ascii: "l") ? 3 : 0
        default: return 0
        }
    }

    private func isE(at position: Int) -> Bool {
        position < text.count && text[position] == UInt8(ascii: "e")
    }

    /// Whether a word surely ends in front of `position`, whatever stands before and behind: a letter or a number is
    /// followed by something of another class. Texts cut there have the same words.
    static func endsWord(_ text: UnsafeRawBufferPointer, before position: Int) -> Bool {
        guard position > 0, position < text.count, text[position] & 0xC0 != 0x80 else { return false }
        var start = position - 1
        while start > 0 && position - start < 4 && text[start] & 0xC0 == 0x80 { start -= 1 }
        let (kind, length) = ScalarClass.read(text, at: start)
        guard start + length == position, kind == .letter || kind == .number else { return false }
        return ScalarClass.read(text, at: position).class != kind
    }
}
