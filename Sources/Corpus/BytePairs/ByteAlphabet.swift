/// The 256 characters by which GPT-2's vocabulary writes bytes: printable ones of Latin-1 stand for themselves, the others
/// for the characters from U+0100 on, in order.
enum ByteAlphabet {
    /// The character of each byte.
    static let scalars: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (UInt8.min...UInt8.max).map { byte in
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
            default:
                defer { next += 1 }
                return Unicode.Scalar(next)!
            }
        }
    }()

    private static let bytes: [Unicode.Scalar: UInt8] = Dictionary(
        uniqueKeysWithValues: zip(scalars, UInt8.min...UInt8.max))

    /// What a token of the vocabulary stands for: the bytes of its characters or, if one of them is none of the alphabet,
    /// its own UTF-8.
    static func bytes(of token: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(token.count)
        for scalar in String(decoding: token, as: UTF8.self).unicodeScalars {
            guard let byte = bytes[scalar] else { return token }
            result.append(byte)
        }
        return result
    }

    /// How a vocabulary writes `bytes`, in UTF-8.
    static func token(of bytes: some Sequence<UInt8>) -> [UInt8] {
        var token: [UInt8] = []
        for byte in bytes { token.append(contentsOf: UTF8.encode(scalars[Int(byte)])!) }
        return token
    }
}
