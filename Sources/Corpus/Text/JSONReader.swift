/// Reads JSON (RFC 8259) from bytes that anybody may have written.
struct JSONReader {
    private typealias Fault = JSONText.Fault
    private let text: UnsafeRawBufferPointer
    private var position = 0
    private var level = 0

    init(_ text: UnsafeRawBufferPointer) {
        self.text = text
    }

    mutating func readDocument() throws(JSONText.Fault) -> JSONText {
        let value = try readValue()
        guard next() == nil else { throw fault("something follows the value") }
        return value
    }

    private func fault(_ text: String) -> JSONText.Fault { Fault(offset: position, text: text) }

    /// The next byte that is no white space, not taken yet.
    private mutating func next() -> UInt8? {
        while position < text.count {
            switch text[position] {
            case 0x20, 0x09, 0x0A, 0x0D: position += 1
            case let byte: return byte
            }
        }
        return nil
    }

    private mutating func readValue() throws(JSONText.Fault) -> JSONText {
        switch next() {
        case UInt8(ascii: "{"): return try readObject()
        case UInt8(ascii: "["): return try readArray()
        case UInt8(ascii: "\""): return .string(try readString())
        case UInt8(ascii: "t"): return try readWord("true", .bool(true))
        case UInt8(ascii: "f"): return try readWord("false", .bool(false))
        case UInt8(ascii: "n"): return try readWord("null", .null)
        case nil: throw fault("the text ends where a value is expected")
        case let byte?:
            guard isOfNumber(byte) else { throw fault("expected a value") }
            return try readNumber()
        }
    }

    private mutating func readWord(
        _ word: StaticString, _ value: JSONText
    ) throws(JSONText.Fault) -> JSONText {
        let end = position + word.utf8CodeUnitCount
        guard end <= text.count,
            text[position..<end].elementsEqual(
                UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
        else { throw fault("expected \(word)") }
        position = end
        return value
    }

    private mutating func enter() throws(JSONText.Fault) {
        level += 1
        guard level <= JSONText.mostLevels else {
            throw fault("nested more than \(JSONText.mostLevels) levels deep")
        }
        position += 1
    }

    private mutating func readArray() throws(JSONText.Fault) -> JSONText {
        try enter()
        defer { level -= 1 }
        var elements: [JSONText] = []
        if next() == UInt8(ascii: "]") {
            position += 1
            return .array(elements)
        }
        while true {
            elements.append(try readValue())
            guard try isFollowedByAnother(before: UInt8(ascii: "]")) else { return .array(elements) }
        }
    }

    private mutating func readObject() throws(JSONText.Fault) -> JSONText {
        try enter()
        defer { level -= 1 }
        var members: [JSONText.Member] = []
        var keys: Set<[UInt8]> = []
        if next() == UInt8(ascii: "}") {
            position += 1
            return .object(members)
        }
        while true {
            guard next() == UInt8(ascii: "\"") else { throw fault("expected a key in quotation marks") }
            let start = position
            let key = try readString()
            guard keys.insert(key).inserted else {
                throw Fault(offset: start, text: "a key that the object has already")
            }
            guard next() == UInt8(ascii: ":") else { throw fault("expected ':'") }
            position += 1
            members.append(JSONText.Member(key: key, value: try readValue()))
            guard try isFollowedByAnother(before: UInt8(ascii: "}")) else { return .object(members) }
        }
    }

    private mutating func isFollowedByAnother(before end: UInt8) throws(JSONText.Fault) -> Bool {
        switch next() {
        case UInt8(ascii: ","): position += 1
        case end:
            position += 1
            return false
        default: throw fault("expected ',' or '\(Character(Unicode.Scalar(end)))'")
        }
        return true
    }

    private mutating func readNumber() throws(JSONText.Fault) -> JSONText {
        let start = position
        while position < text.count, isOfNumber(text[position]) { position += 1 }
        let digits = String(decoding: text[start..<position], as: UTF8.self)
        guard position - start <= 64, digits.last?.isNumber == true, let value = Double(digits),
            value.isFinite
        else { throw Fault(offset: start, text: "not a number") }
        return .number(value)
    }

    private func isOfNumber(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    /// The bytes between the quotation marks, with escapes resolved; valid UTF-8.
    private mutating func readString() throws(JSONText.Fault) -> [UInt8] {
        let first = position
        position += 1
        var bytes: [UInt8] = []
        var runStart = position
        while position < text.count {
            switch text[position] {
            case UInt8(ascii: "\""):
                bytes.append(contentsOf: text[runStart..<position])
                position += 1
                guard bytes.withUnsafeBytes(isUTF8) else {
                    throw Fault(offset: first, text: "a string that is not UTF-8")
                }
                return bytes
            case UInt8(ascii: "\\"):
                bytes.append(contentsOf: text[runStart..<position])
                position += 1
                bytes.append(contentsOf: try readEscape())
                runStart = position
            case 0..<0x20: throw fault("a control character in a string, which must be escaped")
            default: position += 1
            }
        }
        throw Fault(offset: first, text: "a string without an end")
    }

    /// Behind the backslash.
    private mutating func readEscape() throws(JSONText.Fault) -> [UInt8] {
        guard position < text.count else { throw fault("the text ends in a string") }
        let byte = text[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0C]
        case UInt8(ascii: "n"): return [0x0A]
        case UInt8(ascii: "r"): return [0x0D]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"): break
        default:
            position -= 1
            throw fault("an unknown escape in a string")
        }
        var value = try readHexadecimal()
        if 0xD800..<0xDC00 ~= value {
            guard position + 1 < text.count, text[position] == UInt8(ascii: "\\"),
                text[position + 1] == UInt8(ascii: "u")
            else { throw fault("half of a surrogate pair in a string") }
            position += 2
            let low = try readHexadecimal()
            guard 0xDC00..<0xE000 ~= low else { throw fault("half of a surrogate pair in a string") }
            value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(value) else {
            throw fault("half of a surrogate pair in a string")
        }
        return Array(UTF8.encode(scalar)!)
    }

    private mutating func readHexadecimal() throws(JSONText.Fault) -> UInt32 {
        guard position + 4 <= text.count else { throw fault("the text ends in a string") }
        var value: UInt32 = 0
        for byte in text[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue, byte < 0x80 else {
                throw fault("expected four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
        }
        position += 4
        return value
    }
}

/// Whether bytes are well-formed UTF-8.
func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var position = 0
    while position < bytes.count {
        if bytes[position] < 0x80 {
            position += 1
        } else if let decoded = ScalarClass.decode(bytes, at: position) {
            position += decoded.length
        } else {
            return false
        }
    }
    return true
}
