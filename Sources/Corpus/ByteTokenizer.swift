/// One token a byte: ids 0 to 255.
public struct ByteTokenizer: Tokenizer {
    public let vocabSize = 256

    public init() {}

    /// A newline.
    public var documentEnd: [Int32] { [0x0A] }

    public func token(ofByte byte: UInt8) -> Int32 { Int32(byte) }

    public func pieces(of text: UnsafeRawBufferPointer) -> TextPieces {
        TextPieces(text, addedTokens: AddedTokens(), cut: .anywhere)
    }

    public func makeEncoder() -> any PieceEncoder { Encoder() }

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

    public func byteCount(of token: Int) -> Int? { (0..<vocabSize).contains(token) ? 1 : nil }

    private final class Encoder: PieceEncoder {
        func encode(_ piece: TextPiece, of text: UnsafeRawBufferPointer, into tokens: inout [Int32]) {
            guard case .text(let range, _) = piece else { return }
            tokens.append(contentsOf: text[range].lazy.map(Int32.init))
        }
    }
}
