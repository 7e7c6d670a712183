import Corpus

extension TokenShard {
    /// All of its tokens.
    func all() throws -> [Int32] {
        var tokens = [Int32](repeating: -1, count: count)
        try copy(0..<count, to: &tokens)
        return tokens
    }
}
