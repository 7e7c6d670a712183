/// Ranks that do not hold the same value of something that all should.
package struct RankDifference: Sendable {
    /// The ranks of every value, the most frequent value first, then the one of the lowest rank.
    package let groups: [[Int]]

    /// nil when `values`, one of every rank, are all the same.
    package init?(_ values: [Int64]) {
        let groups = Dictionary(grouping: values.indices) { values[$0] }.values
            .sorted { ($1.count, $0[0]) < ($0.count, $1[0]) }
        guard groups.count > 1 else { return nil }
        self.groups = groups
    }

    /// The ranks that differ from more than half of all; nil where there is no such majority.
    package var outvoted: [Int]? {
        let ranks = groups.reduce(0) { $0 + $1.count }
        return 2 * groups[0].count > ranks ? groups.dropFirst().flatMap(\.self).sorted() : nil
    }

    /// "rank 2", "ranks 0 and 3", "ranks 1, 2, 3 and 61 more".
    package static func list(_ ranks: [Int]) -> String {
        let shown = ranks.count <= 4 ? ranks : Array(ranks.prefix(3))
        guard ranks.count > 1 else { return "rank \(ranks.first ?? 0)" }
        let last =
            shown.count < ranks.count ? "\(ranks.count - shown.count) more" : "\(shown[shown.count - 1])"
        let first = shown.count < ranks.count ? shown : shown.dropLast()
        return "ranks \(first.map(String.init).joined(separator: ", ")) and \(last)"
    }
}
