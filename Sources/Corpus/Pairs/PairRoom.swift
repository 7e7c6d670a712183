/// The tokens that a pair may have: in one sequence of a decoder, or in one sequence for the source, which an encoder takes,
/// and one for the target.
struct PairRoom: Sendable {
    /// Of the sequence, or of the target's.
    let contextLength: Int
    /// 0 where a pair is one sequence.
    let sourceLength: Int

    /// How many tokens too many a source and a target of these lengths have, with what is put between and behind them.
    private func excess(source: Int, target: Int) -> (source: Int, target: Int) {
        guard sourceLength > 0 else {
            // With the separator; the last token is no input.
            let excess = max(0, source + target + 1 - contextLength)
            return (min(excess, source), max(0, excess - source))
        }
        // Each with its end.
        return (max(0, source + 1 - sourceLength), max(0, target + 1 - contextLength))
    }

    func holds(source: Int, target: Int) -> Bool { excess(source: source, target: target) == (0, 0) }

    /// What a source and a target of these lengths take that there is not; nil when there is room.
    func lack(source: Int, target: Int) -> String? {
        let excess = excess(source: source, target: target)
        guard excess != (0, 0) else { return nil }
        if sourceLength > 0 && excess.source > 0 {
            return "a source length of \(source + 1) with the end, but model.source_length is \(sourceLength)"
        }
        let needed = sourceLength > 0 ? target + 1 : source + target + 1
        return "a context of \(needed), but model.context_length is \(contextLength)"
    }

    /// A pair that has room. Throws a `LineFault` when it is too long and must not be cut.
    func fitted(_ pair: TokenizedPair, truncates: Bool) throws -> TokenizedPair {
        let excess = excess(source: pair.source.count, target: pair.target.count)
        guard excess != (0, 0) else { return pair }
        guard truncates else {
            let lack = lack(source: pair.source.count, target: pair.target.count) ?? ""
            throw LineFault(
                start: pair.lineStart,
                text:
                    "\(pair.source.count) tokens of source and \(pair.target.count) of target take \(lack). "
                    + "Raise it, or set data.truncate to true to cut such pairs")
        }
        var cut = pair
        cut.source.removeLast(excess.source)
        cut.target.removeLast(excess.target)
        return cut
    }
}
