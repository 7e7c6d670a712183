import Configs

/// Text to token ids and back, without loss: the tokens of a text decode to its bytes.
public protocol Tokenizer: Sendable {
    /// Ids are in `0 ..< vocabSize`.
    var vocabSize: Int { get }

    /// What stands behind a document when there are several.
    var documentEnd: [Int32] { get }

    /// The token of a byte by itself.
    func token(ofByte byte: UInt8) -> Int32

    /// Cuts a text into the pieces that an encoder takes, in order and together all of it.
    func pieces(of text: UnsafeRawBufferPointer) -> TextPieces

    /// An encoder for one thread.
    func makeEncoder() -> any PieceEncoder

    /// The bytes that the tokens stand for; an id outside the vocabulary becomes U+FFFD.
    func decode(_ tokens: [Int32]) -> [UInt8]

    /// Bytes that a token stands for; nil for an id outside the vocabulary.
    func byteCount(of token: Int) -> Int?
}

/// Encodes pieces of a text. The tokens of a piece do not depend on what was encoded before.
public protocol PieceEncoder: AnyObject {
    /// Appends the tokens of a piece of `text`.
    func encode(_ piece: TextPiece, of text: UnsafeRawBufferPointer, into tokens: inout [Int32])
}

extension Tokenizer {
    public func encode(_ text: UnsafeRawBufferPointer) -> [Int32] {
        var tokens: [Int32] = []
        let encoder = makeEncoder()
        for piece in pieces(of: text) { encoder.encode(piece, of: text, into: &tokens) }
        return tokens
    }

    public func encode(_ text: [UInt8]) -> [Int32] { text.withUnsafeBytes { encode($0) } }

    public func encode(_ text: String) -> [Int32] { encode(Array(text.utf8)) }
}

extension DataConfig.Tokenizer {
    /// - Throws: as `BytePairTokenizer.init(path:)`.
    public func makeTokenizer() throws -> any Tokenizer {
        switch self {
        case .bytes: ByteTokenizer()
        case .file(let path): try BytePairTokenizer(path: path)
        }
    }
}
