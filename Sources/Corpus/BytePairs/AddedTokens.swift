/// Tokens that are found in a text as they are written, before it is split into words.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let id: UInt32
        let content: [UInt8]
        /// Whether it takes the white space in front of and behind it with it.
        let takesSpaceBefore: Bool
        let takesSpaceBehind: Bool
        /// Whether it is looked for only in what the others have left.
        let isNormalized: Bool
    }

    struct Match {
        let id: UInt32
        let range: Range<Int>
    }

    let tokens: [Token]
    private let first: Matcher
    private let second: Matcher

    init(_ tokens: [Token] = []) {
        self.tokens = tokens
        first = Matcher(tokens.filter { !$0.isNormalized })
        second = Matcher(tokens.filter(\.isNormalized))
    }

    /// The added tokens of a text, one after the other.
    struct Search {
        private let tokens: AddedTokens
        private let text: UnsafeRawBufferPointer
        private var position = 0
        /// The next one that is not normalized, once it has been looked for.
        private var upcoming: Match?
        private var isUpcomingKnown = false

        init(_ tokens: AddedTokens, in text: UnsafeRawBufferPointer) {
            self.tokens = tokens
            self.text = text
        }

        mutating func next() -> Match? {
            if !isUpcomingKnown {
                upcoming = tokens.first.next(in: text, position..<text.count)
                isUpcomingKnown = true
            }
            let end = upcoming?.range.lowerBound ?? text.count
            if let match = tokens.second.next(in: text, position..<end) {
                position = match.range.upperBound
                return match
            }
            isUpcomingKnown = upcoming == nil
            position = upcoming?.range.upperBound ?? text.count
            return upcoming
        }
    }

    /// Looks for several strings at once; of those that begin at one place the longest is meant.
    private struct Matcher: Sendable {
        /// By the first byte, the longest first.
        private let candidates: [[Token]]
        let isEmpty: Bool

        init(_ tokens: [Token]) {
            var candidates = [[Token]](repeating: [], count: 256)
            for token in tokens.sorted(by: { $0.content.count > $1.content.count }) {
                candidates[Int(token.content[0])].append(token)
            }
            self.candidates = candidates
            isEmpty = tokens.isEmpty
        }

        /// The first match within a part of the text.
        func next(in text: UnsafeRawBufferPointer, _ part: Range<Int>) -> Match? {
            guard !isEmpty else { return nil }
            for position in part {
                guard let token = token(in: text, position..<part.upperBound) else { continue }
                var range = position..<position + token.content.count
                if token.takesSpaceBefore {
                    range = spaceStart(text, in: part.lowerBound..<position)..<range.upperBound
                }
                if token.takesSpaceBehind {
                    range = range.lowerBound..<spaceEnd(text, in: range.upperBound..<part.upperBound)
                }
                return Match(id: token.id, range: range)
            }
            return nil
        }

        private func token(in text: UnsafeRawBufferPointer, _ part: Range<Int>) -> Token? {
            let rest = text[part]
            return candidates[Int(text[part.lowerBound])].first { rest.starts(with: $0.content) }
        }

        /// Where white space ends with which `part` begins.
        private func spaceEnd(_ text: UnsafeRawBufferPointer, in part: Range<Int>) -> Int {
            var position = part.lowerBound
            while position < part.upperBound {
                let (kind, length) = ScalarClass.read(text, at: position)
                guard kind == .space else { break }
                position += length
            }
            return position
        }

        /// Where white space begins with which `part` ends.
        private func spaceStart(_ text: UnsafeRawBufferPointer, in part: Range<Int>) -> Int {
            var position = part.upperBound
            while position > part.lowerBound {
                var start = position - 1
                while start > part.lowerBound && text[start] & 0xC0 == 0x80 { start -= 1 }
                let (kind, length) = ScalarClass.read(text, at: start)
                guard kind == .space, start + length == position else { break }
                position = start
            }
            return position
        }
    }
}
