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

/// Levenshtein distance.
private func editDistance(_ a: String, _ b: String) -> Int {
    let a = Array(a.lowercased())
    let b = Array(b.lowercased())
    var row = Array(0...b.count)
    for i in a.indices {
        var diagonal = row[0]
        row[0] = i + 1
        for j in b.indices {
            let substitution = diagonal + (a[i] == b[j] ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substitution, row[j] + 1, diagonal + 1)
        }
    }
    return row[b.count]
}
