import Foundation

extension JSONDecoder {
    /// Decodes what anybody may have written, in UTF-8.
    ///
    /// Foundation's own limit of 512 levels traps where the text ends right behind it (Swift 6.3), so that depth is looked at
    /// first. Throws a `DecodingError`.
    package func decode<Value: Decodable>(_: Value.Type, fromUntrusted text: Data) throws -> Value {
        guard text.withUnsafeBytes(isShallow) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: [], debugDescription: "nested too deeply, or not UTF-8"))
        }
        return try decode(Value.self, from: text)
    }
}

/// Whether lists and objects are nested less deeply than in no file of the product. Zero bytes, which are only in other
/// encodings of JSON, are refused, because its quotation marks would not be seen.
private func isShallow(_ text: UnsafeRawBufferPointer) -> Bool {
    var depth = 0
    var (isString, isEscaped) = (false, false)
    for byte in text {
        switch byte {
        case 0: return false
        case _ where isEscaped: isEscaped = false
        case UInt8(ascii: "\\"): isEscaped = isString
        case UInt8(ascii: "\""): isString.toggle()
        case _ where isString: break
        case UInt8(ascii: "["), UInt8(ascii: "{"):
            depth += 1
            guard depth <= 64 else { return false }
        case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
        default: break
        }
    }
    return true
}
