import Configs

/// A value of a JSON text, with strings as their UTF-8 bytes: Swift's own strings are equal when they are canonically
/// equivalent, and two tokens that only look alike would be one.
enum JSONText {
    case null
    case bool(Bool)
    case number(Double)
    case string([UInt8])
    case array([JSONText])
    /// In the order of the text, no key twice.
    case object([Member])

    struct Member {
        let key: [UInt8]
        let value: JSONText
    }

    /// What is wrong with a text, and where.
    struct Fault: Error {
        /// In bytes from the beginning of the text.
        let offset: Int
        /// Completes "…: ".
        let text: String
    }

    /// Nesting beyond that of any file of ours.
    static let mostLevels = 64

    /// Reads a text that is one value.
    init(_ text: UnsafeRawBufferPointer) throws(Fault) {
        var reader = JSONReader(text)
        self = try reader.readDocument()
    }

    subscript(key: String) -> JSONText? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key.elementsEqual(key.utf8) }?.value
    }

    /// A whole number that a double holds exactly.
    var integer: Int? {
        guard case .number(let value) = self, value.magnitude <= 0x1p53 else { return nil }
        return Int(exactly: value)
    }

    var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    var bytes: [UInt8]? {
        if case .string(let value) = self { value } else { nil }
    }

    var string: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

    var elements: [JSONText]? {
        if case .array(let value) = self { value } else { nil }
    }

    var members: [Member]? {
        if case .object(let value) = self { value } else { nil }
    }

    /// A few words that say what it is.
    var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let value): Int(exactly: value).map(String.init) ?? "\(value)"
        case .string: "\"\(excerpt(string ?? "", limit: 40))\""
        case .array(let elements): "a list of \(elements.count)"
        case .object(let members): "an object of \(members.count) keys"
        }
    }

    /// `text` as a JSON string, with its quotation marks.
    static func quoted(_ text: some Sequence<UInt8>) -> [UInt8] {
        var quoted: [UInt8] = [UInt8(ascii: "\"")]
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): quoted += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                quoted += Array("\\u00\(digits.count == 1 ? "0" : "")\(digits)".utf8)
            default: quoted.append(byte)
            }
        }
        quoted.append(UInt8(ascii: "\""))
        return quoted
    }
}
