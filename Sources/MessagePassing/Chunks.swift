/// The pieces of at most `limit` elements that a message of `count` elements is sent in; an MPI count is a C int.
/// An empty message is one empty piece, so that both ends still meet. Every rank cuts the same count alike.
struct Chunks: Sequence, IteratorProtocol {
    private let total: Int
    private let limit: Int
    private var offset: Int? = 0

    init(count: Int, limit: Int) {
        self.total = count
        self.limit = limit
    }

    mutating func next() -> (offset: Int, count: Int32)? {
        guard let offset else { return nil }
        let count = Swift.min(limit, total - offset)
        self.offset = offset + count < total ? offset + count : nil
        return (offset, Int32(count))
    }
}
