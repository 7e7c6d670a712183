/// One token a byte: ids 0 to 255.
public struct ByteTokenizer: Tokenizer {
    public let vocabSize = 256

    public init() {}

    public func encode(_ text: UnsafeRawBufferPointer, into tokens: inout [UInt16]) {
        tokens.reserveCapacity(tokens.count + text.count)
        for byte in text { tokens.append(UInt16(byte)) }
    }

    public func decode(_ tokens: [Int32]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(tokens.count)
        for token in tokens {
            if let byte = UInt8(exactly: token) {
                bytes.append(byte)
            } else {
                bytes.append(contentsOf: "\u{FFFD}".utf8)
            }
        }
        return bytes
    }
}
