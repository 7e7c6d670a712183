/// A part of the configuration whose keys are given by a table that both reading and writing follow.
protocol Section {
    /// What reading starts from: the default of every optional key, anything for the required ones.
    static var initial: Self { get }
    static var keys: [Key<Self>] { get }
}

/// One key of a section: how it is read into the section's value and written from it.
struct Key<Root: Section> {
    let name: String
    /// The paths of all keys at and below this one, from this section on.
    let paths: [String]
    /// Reads the key's value, if there is one, into the section.
    let read: (ConfigTree?, String, inout Root, inout Reading) throws -> Void
    /// Writes the key with its value at an indentation.
    let write: (Root, String) -> String
    /// The paths of all keys at and below this one, with their values as they are written.
    let values: (Root) -> [(path: String, value: String)]

    /// - Parameters:
    ///   - isRequired: whether leaving it out is an error.
    ///   - limit: what the value must satisfy.
    ///   - fallback: the value of an absent key, where it depends on keys read before it.
    init<Value: ConfigValue>(
        _ name: String, _ property: WritableKeyPath<Root, Value>, required isRequired: Bool = false,
        _ limit: Limit<Value> = .none, default fallback: ((Root) -> Value)? = nil
    ) {
        self.name = name
        paths = [name]
        read = { tree, path, root, reading in
            if let tree {
                root[keyPath: property] = try decode(tree, path, limit)
            } else if isRequired {
                reading.missing.append(path)
            } else if let fallback {
                root[keyPath: property] = fallback(root)
            }
        }
        write = { root, indent in "\(indent)\(name): \(root[keyPath: property].yaml)\n" }
        values = { root in [(name, root[keyPath: property].yaml)] }
    }

    /// A section within the section.
    init<Inner: Section>(section name: String, _ property: WritableKeyPath<Root, Inner>) {
        self.name = name
        paths = [name] + Inner.keys.flatMap(\.paths).map { "\(name).\($0)" }
        read = { tree, path, root, reading in
            root[keyPath: property] = try Inner.read(tree, at: path, &reading)
        }
        write = { root, indent in
            let inner = Inner.keys.map { $0.write(root[keyPath: property], indent + "  ") }
            return "\(indent)\(name):\n\(inner.joined())"
        }
        values = { root in
            Inner.keys.flatMap { $0.values(root[keyPath: property]) }.map { ("\(name).\($0)", $1) }
        }
    }
}

/// What is collected while a configuration is read.
struct Reading {
    /// The paths of all keys of the whole configuration.
    let knownPaths: [String]
    /// Required keys that were not there.
    var missing: [String] = []
}

extension Section {
    /// Reads the section at `path` ("" is the whole configuration); an absent one is like an empty one.
    static func read(_ tree: ConfigTree?, at path: String, _ reading: inout Reading) throws -> Self {
        let prefix = path.isEmpty ? "" : path + "."
        var entries: [ConfigTree.Entry] = []
        switch tree?.content {
        case .mapping(let found): entries = found
        case .none: break
        default:
            guard let tree, !tree.isNull else { break }
            throw tree.origin.error(
                "\(path.isEmpty ? "a configuration" : path) must be a mapping of keys to values, "
                    + "found \(tree.summary)")
        }
        let keys = Self.keys
        let names = Set(keys.map(\.name))
        if let unknown = entries.first(where: { !names.contains($0.key) }) {
            let unknownPath = prefix + unknown.key
            let hint =
                nearest(to: unknownPath, among: reading.knownPaths).map { "; did you mean \($0)?" }
                ?? "; \(path.isEmpty ? "the top level" : path) has \(keys.map(\.name).joined(separator: ", "))"
            throw unknown.keyOrigin.error("unknown key \(excerpt(unknownPath))\(hint)")
        }
        let values = Dictionary(uniqueKeysWithValues: entries.map { ($0.key, $0.value) })
        var result = initial
        for key in keys {
            try key.read(values[key.name], prefix + key.name, &result, &reading)
        }
        return result
    }
}

/// What a value must satisfy beyond its type.
struct Limit<Value> {
    /// Completes "must be …".
    let text: String
    let allows: (Value) -> Bool

    static var none: Limit { Limit(text: "") { _ in true } }
}

extension Limit where Value: Comparable {
    static func within(_ range: ClosedRange<Value>) -> Limit {
        Limit(text: "from \(range.lowerBound) to \(range.upperBound)") { range.contains($0) }
    }

    static func above(_ bound: Value) -> Limit {
        Limit(text: "above \(bound)") { $0 > bound }
    }

    static func atLeast(_ bound: Value) -> Limit {
        Limit(text: "at least \(bound)") { $0 >= bound }
    }
}

private func decode<Value: ConfigValue>(
    _ tree: ConfigTree, _ path: String, _ limit: Limit<Value>
) throws -> Value {
    guard let value = Value(tree) else {
        guard !Value.choices.isEmpty, case .scalar(let text, _) = tree.content, !tree.isNull else {
            throw tree.origin.error("\(path) must be \(Value.expectation), found \(tree.summary)")
        }
        let hint = nearest(to: text, among: Value.choices).map { "; did you mean \($0)?" } ?? ""
        let choices = Value.choices.joined(separator: ", ")
        throw tree.origin.error(
            "\(path) is \(excerpt(text)), but this version supports only \(choices)\(hint)")
    }
    guard limit.allows(value) else {
        throw tree.origin.error("\(path) is \(excerpt(value.yaml)); it must be \(limit.text)")
    }
    return value
}
