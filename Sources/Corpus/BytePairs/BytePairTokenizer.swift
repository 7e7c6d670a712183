import Configs

/// Byte-level byte-pair encoding as in GPT-2 (Radford et al. 2019; Sennrich et al. 2016), of a Hugging Face
/// `tokenizer.json`.
///
/// A text that is not UTF-8 is encoded all the same: a byte that belongs to no scalar counts as a character that is no
/// letter, number or space. Special tokens that stand in a text become those tokens. The post-processor, which puts special
/// tokens around a text, is not applied, and neither are the file's truncation and padding.
public struct BytePairTokenizer: Tokenizer {
    /// The largest id + 1.
    public let vocabSize: Int
    /// What each id stands for; nil where the vocabulary has none.
    let tokenBytes: [[UInt8]?]
    /// The token of each single byte.
    let byteTokens: [UInt32]
    let merges: MergeTable
    /// Words that are one token whatever the merges say, by their number, and their ids; empty without `ignore_merges`.
    let wholeWords: (table: WordTable, ids: [UInt32])
    let addedTokens: AddedTokens
    let addsPrefixSpace: Bool
    /// Whether a text is split into words at all.
    let splitsWords: Bool

    /// GPT-2's `<|endoftext|>` or, in a vocabulary without it, a newline.
    public var documentEnd: [Int32] {
        let end = addedTokens.tokens.first { $0.content == Array("<|endoftext|>".utf8) }
        return [end.map { Int32($0.id) } ?? token(ofByte: 0x0A)]
    }

    public func token(ofByte byte: UInt8) -> Int32 { Int32(byteTokens[Int(byte)]) }

    public func pieces(of text: UnsafeRawBufferPointer) -> TextPieces {
        TextPieces(text, addedTokens: addedTokens, cut: splitsWords ? .betweenWords : .nowhere)
    }

    public func makeEncoder() -> any PieceEncoder { BytePairEncoder(self) }

    public func byteCount(of token: Int) -> Int? {
        tokenBytes.indices.contains(token) ? tokenBytes[token]?.count : nil
    }

    public func decode(_ tokens: [Int32]) -> [UInt8] {
        var bytes: [UInt8] = []
        for token in tokens {
            if tokenBytes.indices.contains(Int(token)), let known = tokenBytes[Int(token)] {
                bytes += known
            } else {
                bytes += Array("\u{FFFD}".utf8)
            }
        }
        return bytes
    }
}
