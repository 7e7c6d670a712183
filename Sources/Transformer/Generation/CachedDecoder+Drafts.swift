import Kernels

/// Tokens that are proposed, and checked together, of a decoder's only sequence.
extension CachedDecoder {
    /// What `step` would make of a token behind the only sequence, nearly, with weights in 8 bits. Returns its logits `[V]`.
    func propose(behind token: Int32) -> Vector {
        precondition(drafts > 0, "a decoder without weights in 8 bits")
        isDrafting = true
        defer { isDrafting = false }
        return step([(token, 0)]).vector
    }

    /// Puts tokens, one more than `drafts` at most, behind the only sequence. Returns the logits `[n, V]` of what follows
    /// each of them, bit by bit those of as many steps.
    func check(_ tokens: [Int32]) -> Matrix {
        let first = length(of: 0)
        precondition(
            (1...drafts + 1).contains(tokens.count) && first + tokens.count <= capacity,
            "\(tokens.count) tokens behind \(first) of \(capacity)")
        let rows = tokens.enumerated().map { Row(token: $1, sequence: 0, position: first + $0) }
        return step(rows, [rows.indices])
    }

    /// The only sequence forgets what is behind its first `count` tokens.
    func rewind(to count: Int) { cache.rewind(0, to: count) }
}
