/// What GPT-2's pre-tokenization tells apart: `\p{L}`, `\p{N}`, `\s`, and everything else.
enum ScalarClass: UInt8 {
    case letter, number, space, other

    /// Hugging Face's `tokenizers` have the properties of Unicode 16. Scalars that came later belong to no class there;
    /// a newer Swift must not change the tokens of a text.
    private static let unicodeVersion = 16

    /// Of the scalars below `tableEnd`; none of the others is a letter, a number or a space.
    private static let table: [ScalarClass] = (0..<tableEnd).map { value in
        guard let scalar = Unicode.Scalar(value) else { return .other }
        let properties = scalar.properties
        if let age = properties.age, age.major > unicodeVersion { return .other }
        return switch properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: .letter
        case .decimalNumber, .letterNumber, .otherNumber: .number
        default: properties.isWhitespace ? .space : .other
        }
    }
    private static let tableEnd: UInt32 = 0x40000

    init(_ scalar: UInt32) {
        self = scalar < Self.tableEnd ? Self.table[Int(scalar)] : .other
    }

    /// The class of what stands at `position`, and its length in bytes: of a scalar, or of a byte that is not UTF-8,
    /// which is taken for a character of its own and of no class.
    @inline(__always)
    static func read(_ text: UnsafeRawBufferPointer, at position: Int) -> (class: ScalarClass, length: Int) {
        let byte = text[position]
        if byte < 0x80 { return (ofASCII(byte), 1) }
        guard let (scalar, length) = decode(text, at: position) else { return (.other, 1) }
        return (ScalarClass(scalar), length)
    }

    @inline(__always)
    private static func ofASCII(_ byte: UInt8) -> ScalarClass {
        // 'A' and 'a' differ in one bit.
        if (byte | 0x20) &- 0x61 < 26 { return .letter }
        if byte &- 0x30 < 10 { return .number }
        return byte == 0x20 || byte &- 0x09 < 5 ? .space : .other
    }

    /// The scalar of several bytes at `position`; nil when they are not well-formed UTF-8 (table 3-7 of the standard).
    static func decode(
        _ text: UnsafeRawBufferPointer, at position: Int
    ) -> (scalar: UInt32, length: Int)? {
        let first = text[position]
        let length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
        guard (0xC2...0xF4).contains(first), position + length <= text.count else { return nil }
        var scalar = UInt32(first) & (0x7F >> UInt32(length))
        for byte in text[position + 1..<position + length] {
            guard byte & 0xC0 == 0x80 else { return nil }
            scalar = scalar << 6 | UInt32(byte & 0x3F)
        }
        let isOverlong = scalar < (length == 2 ? 0x80 : length == 3 ? 0x800 : 0x10000)
        guard !isOverlong, scalar <= 0x10FFFF, !(0xD800..<0xE000).contains(scalar) else { return nil }
        return (scalar, length)
    }
}
