/// The candidate that a misspelt word most likely means; nil when none is close.
///
/// A candidate may be a path of keys: its last key is what counts, and at equal distance the one in the same section
/// as `path` wins.
package func nearest(to path: String, among candidates: [String]) -> String? {
    let (section, word) = splitPath(path)
    guard word.count <= 64 else { return nil }
    let ranked = candidates.map { candidate in
        let (otherSection, otherWord) = splitPath(candidate)
        return (
            candidate, distance: editDistance(word, otherWord), isElsewhere: section == otherSection ? 0 : 1
        )
    }
    let best = ranked.min { ($0.distance, $0.isElsewhere) < ($1.distance, $1.isElsewhere) }
    guard let best, best.distance <= max(1, word.count / 3) else { return nil }
    return best.0
}

private func splitPath(_ path: String) -> (section: String, key: String) {
    guard let dot = path.lastIndex(of: ".") else { return ("", path) }
    return (String(path[..<dot]), String(path[path.index(after: dot)...]))
}

/// Insertions, deletions, replacements and swaps of neighbours that make `b` of `a` (optimal string alignment).
private func editDistance(_ a: String, _ b: String) -> Int {
    let a = Array(a.lowercased())
    let b = Array(b.lowercased())
    var (beforeLast, last) = ([Int](), Array(0...b.count))
    for i in a.indices {
        var row = [i + 1]
        for j in b.indices {
            let isSame = a[i] == b[j]
            var distance = min(last[j] + (isSame ? 0 : 1), last[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                distance = min(distance, beforeLast[j - 1] + 1)
            }
            row.append(distance)
        }
        (beforeLast, last) = (last, row)
    }
    return last[b.count]
}
