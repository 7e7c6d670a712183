/// A part of a text that is encoded by itself.
public enum TextPiece: Sendable {
    /// A token that stands in the text as it is written.
    case token(UInt32)
    /// Text at an offset of bytes; `beginsSegment` at the beginning of the text and behind such a token.
    case text(Range<Int>, beginsSegment: Bool)
}

/// Cuts a text into pieces of about a mebibyte whose tokens, one after the other, are those of the whole text.
public struct TextPieces: Sequence, IteratorProtocol {
    enum Cut {
        case anywhere, betweenWords, nowhere
    }

    private let text: UnsafeRawBufferPointer
    private let cut: Cut
    private var search: AddedTokens.Search
    private var position = 0
    private var match: AddedTokens.Match?
    private var isMatchKnown = false
    private var beginsSegment = true

    package static let pieceBytes = 1 << 20

    init(_ text: UnsafeRawBufferPointer, addedTokens: AddedTokens, cut: Cut) {
        self.text = text
        self.cut = cut
        search = AddedTokens.Search(addedTokens, in: text)
    }

    public mutating func next() -> TextPiece? {
        if !isMatchKnown {
            match = search.next()
            isMatchKnown = true
        }
        let segmentEnd = match?.range.lowerBound ?? text.count
        if position < segmentEnd {
            let range = position..<pieceEnd(in: position..<segmentEnd)
            defer { (position, beginsSegment) = (range.upperBound, false) }
            return .text(range, beginsSegment: beginsSegment)
        }
        guard let match else { return nil }
        (position, beginsSegment, isMatchKnown) = (match.range.upperBound, true, false)
        return .token(match.id)
    }

    private func pieceEnd(in segment: Range<Int>) -> Int {
        guard segment.count > Self.pieceBytes, cut != .nowhere else { return segment.upperBound }
        let target = segment.lowerBound + Self.pieceBytes
        if cut == .anywhere { return target }
        let isEnd = { WordSplitter.endsWord(text, before: $0) }
        return (segment.lowerBound + 1..<target).last(where: isEnd)
            ?? (target..<segment.upperBound).first(where: isEnd) ?? segment.upperBound
    }
}
