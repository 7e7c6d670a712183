import Yams

/// Where a value was written, for error messages.
enum Origin: Sendable, Equatable {
    case file(String)
    case line(file: String, Int)
    case override(String)

    var description: String {
        switch self {
        case .file(let file): file
        case .line(let file, let line): "\(file):\(line)"
        case .override(let text): "override \(excerpt(text))"
        }
    }

    /// An error in the configuration that was written here.
    func error(_ text: String) -> LockstepError {
        LockstepError(.badConfiguration, "\(description): \(text)")
    }
}

/// A YAML value that remembers where it was written.
struct ConfigTree {
    enum Content {
        case scalar(String, isQuoted: Bool)
        case list([ConfigTree])
        case mapping([Entry])
    }

    struct Entry {
        var key: String
        var keyOrigin: Origin
        var value: ConfigTree
    }

    var content: Content
    var origin: Origin

    /// What was found, in the words of an error message.
    var summary: String {
        switch content {
        case .scalar(_, isQuoted: false) where isNull: "nothing"
        case .scalar(let text, isQuoted: false): excerpt(text)
        case .scalar(let text, isQuoted: true): "the text \"\(excerpt(text))\""
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }

    var isNull: Bool {
        guard case .scalar(let text, isQuoted: false) = content else { return false }
        return ["", "~", "null"].contains(text)
    }

    /// The text of an unquoted scalar that is not null.
    var plainText: String? {
        guard case .scalar(let text, isQuoted: false) = content, !isNull else { return nil }
        return text
    }

    /// The value of a key; nil where there is none.
    subscript(key: String) -> ConfigTree? {
        guard case .mapping(let entries) = content else { return nil }
        return entries.first { $0.key == key }?.value
    }

    /// Puts `value` at a path of keys; whatever stands in the way is replaced.
    mutating func set(_ value: ConfigTree, at path: ArraySlice<String>) {
        guard let key = path.first else {
            self = value
            return
        }
        var entries: [Entry] = []
        if case .mapping(let existing) = content { entries = existing } else { origin = value.origin }
        let index = entries.firstIndex { $0.key == key } ?? entries.count
        if index == entries.count {
            let empty = ConfigTree(content: .mapping([]), origin: value.origin)
            entries.append(Entry(key: key, keyOrigin: value.origin, value: empty))
        }
        entries[index].value.set(value, at: path.dropFirst())
        content = .mapping(entries)
    }
}

extension ConfigTree {
    /// Largest configuration text, in bytes.
    static let sizeLimit = 256 * 1024

    /// Parses one YAML document; nil when there is none.
    ///
    /// Anchors and aliases are refused before the parser sees them, because expanding them takes time and memory
    /// without limit.
    ///
    /// - Parameter origin: where a line of the text was written.
    static func parse(_ text: String, origin: (Int) -> Origin) throws -> ConfigTree? {
        guard text.utf8.count <= sizeLimit else {
            throw origin(1).error("larger than \(sizeLimit / 1024) KiB, the largest configuration accepted")
        }
        try refuseAnchors(in: text, origin: origin)
        do {
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            return try parser.singleRoot().map { try ConfigTree($0, origin: origin) }
        } catch let error as YamlError {
            throw error.configError(origin: origin)
        }
    }

    private init(_ node: Node, origin: (Int) -> Origin) throws {
        self.origin = origin(node.mark?.line ?? 1)
        switch node {
        case .scalar(let scalar):
            content = .scalar(scalar.string, isQuoted: scalar.style != .plain)
        case .sequence(let sequence):
            content = .list(try sequence.map { try ConfigTree($0, origin: origin) })
        case .mapping(let mapping):
            content = .mapping(
                try mapping.map { key, value in
                    let keyOrigin = origin(key.mark?.line ?? 1)
                    guard let name = key.scalar?.string else {
                        throw keyOrigin.error("a key must be a word, not a list or mapping")
                    }
                    return Entry(
                        key: name, keyOrigin: keyOrigin, value: try ConfigTree(value, origin: origin))
                })
        case .alias:
            throw self.origin.error(anchorsRefused)
        }
    }
}

private let anchorsRefused =
    "anchors (&name) and aliases (*name) are not accepted; write the value out. A text or comment may not have "
    + "a word that starts with & or * either, if there is a quotation mark on its line"

/// Throws when a `&` or `*` stands where YAML could read an anchor or an alias.
///
/// It errs on the side of refusing: quotation marks are not followed, and a comment is skipped only on a line without
/// any, for then `#` is either a comment or inside a quotation that does not end on this line.
private func refuseAnchors(in text: String, origin: (Int) -> Origin) throws {
    let opening: Set<Unicode.Scalar> = [" ", "\t", ",", ":", "[", "]", "{", "}", "\"", "'", "\u{FEFF}"]
    let blanks: Set<Unicode.Scalar> = [" ", "\t"]
    let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    for (index, line) in lines.enumerated() {
        let scalars = line.unicodeScalars
        let hasQuotes = scalars.contains("\"") || scalars.contains("'")
        var previous: (Unicode.Scalar, Unicode.Scalar) = (" ", " ")
        for scalar in scalars {
            if scalar == "#", blanks.contains(previous.1), !hasQuotes { break }
            let couldBeAnchor = opening.contains(previous.0) && (previous.1 == "&" || previous.1 == "*")
            if couldBeAnchor && !blanks.contains(scalar) { throw origin(index + 1).error(anchorsRefused) }
            previous = (previous.1, scalar)
        }
    }
}

extension YamlError {
    fileprivate func configError(origin: (Int) -> Origin) -> LockstepError {
        switch self {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let place = context.map { " (\($0.text), line \($0.mark.line))" } ?? ""
            return origin(mark.line).error("not valid YAML: \(problem)\(place)")
        case .reader(let problem, let offset, _, let yaml):
            let line = yaml.prefix(offset ?? 0).count { $0.isNewline } + 1
            return origin(line).error("not valid YAML: \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.prefix(8).map { excerpt($0) }.joined(separator: ", ")
            return origin(context.mark.line).error("given more than once: \(names); keep one of them")
        default:
            return origin(1).error("not valid YAML: \(self)")
        }
    }
}

/// The beginning of a text, fit for one line of a terminal.
package func excerpt(_ text: String, limit: Int = 80) -> String {
    let shown = text.unicodeScalars.prefix(limit).map { scalar in
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: "\u{FFFD}"
        default: String(scalar)
        }
    }
    return shown.joined() + (text.unicodeScalars.count > limit ? "…" : "")
}
