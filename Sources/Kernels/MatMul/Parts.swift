/// A range cut into the fewest parts of at most some size: all but the last of one size, a multiple of a unit. An empty
/// range is one empty part.
struct Parts {
    let total: Int
    /// Of every part but the last.
    let size: Int
    let count: Int

    /// `most` is a multiple of `unit`.
    init(_ total: Int, atMost most: Int, multipleOf unit: Int = 1) {
        self.total = total
        let fewest = max(1, (total + most - 1) / most)
        size = max(unit, ((total + fewest - 1) / fewest + unit - 1) / unit * unit)
        count = max(1, (total + size - 1) / size)
    }

    subscript(part: Int) -> Range<Int> { part &* size..<min(total, (part &+ 1) &* size) }
}
