import Configs

/// Text to token ids and back, without loss: the tokens of consecutive pieces of text, in order, decode to the text.
public protocol Tokenizer: Sendable {
    /// Ids are in `0 ..< vocabSize`.
    var vocabSize: Int { get }

    /// Appends the tokens of a piece of text.
    func encode(_ text: UnsafeRawBufferPointer, into tokens: inout [UInt16])

    /// The bytes that the tokens stand for; an id outside the vocabulary becomes U+FFFD.
    func decode(_ tokens: [Int32]) -> [UInt8]
}

extension Tokenizer {
    public func encode(_ text: String) -> [Int32] {
        var tokens: [UInt16] = []
        Array(text.utf8).withUnsafeBytes { encode($0, into: &tokens) }
        return tokens.map(Int32.init)
    }
}

extension DataConfig.Tokenizer {
    public func makeTokenizer() -> any Tokenizer {
        switch self {
        case .bytes: ByteTokenizer()
        }
    }
}
