import Foundation

extension RunConfig {
    /// Reads and validates a configuration file.
    ///
    /// - Parameter overrides: `key.path=value` each, the value in YAML; the last one of a key wins.
    /// - Throws: `LockstepError`: `inputMissing` if the file cannot be read, `badConfiguration` if something in it or
    ///   in an override is wrong, `usage` for an override that is not of the form above.
    public static func load(path: String, overrides: [String] = []) throws -> RunConfig {
        try parse(
            readText(path: path, kind: "configuration", example: "configs/quickstart.yaml"), source: path,
            overrides: overrides)
    }

    /// Parses and validates the text of a configuration file.
    ///
    /// - Parameter source: the file's name in error messages.
    public static func parse(_ text: String, source: String, overrides: [String] = []) throws -> RunConfig {
        var pretrained: PretrainedConfig?
        let config = try readDocument(text, source: source, overrides: overrides) { tree in
            pretrained = try PretrainedConfig.complete(&tree)
        }
        if let problem = pretrained?.disagreement(with: config.model) {
            throw Origin.file(source).error(problem)
        }
        if let problem = config.inconsistency { throw Origin.file(source).error(problem) }
        return config
    }

    /// The whole configuration with every key; loads back to an equal value.
    public func yaml() -> String {
        Self.keys.map { $0.write(self, "") }.joined()
    }
}

extension Section {
    /// Reads a whole file, of which this is the top level.
    ///
    /// - Parameters:
    ///   - source: the file's name in error messages.
    ///   - overrides: `key.path=value` each.
    ///   - complete: may add keys before they are read.
    static func readDocument(
        _ text: String, source: String, overrides: [String] = [],
        completing complete: (inout ConfigTree) throws -> Void = { _ in }
    ) throws -> Self {
        let file = Origin.file(source)
        var tree =
            try ConfigTree.parse(text) { .line(file: source, $0) }
            ?? ConfigTree(content: .mapping([]), origin: file)
        for override in overrides {
            try apply(override, to: &tree)
        }
        try complete(&tree)
        var reading = Reading(knownPaths: keys.flatMap(\.paths))
        let section = try read(tree, at: "", &reading)
        guard reading.missing.isEmpty else {
            throw file.error("missing \(reading.missing.joined(separator: ", ")); give each a value")
        }
        return section
    }

    private static func apply(_ override: String, to tree: inout ConfigTree) throws {
        let origin = Origin.override(override)
        guard let equals = override.firstIndex(of: "=") else {
            throw LockstepError(.usage, "\(origin.description): not of the form key.path=value")
        }
        let path = override[..<equals].split(separator: ".", omittingEmptySubsequences: false)
            .map(String.init)
        guard path.count <= 8, path.allSatisfy({ !$0.isEmpty }) else {
            throw LockstepError(.usage, "\(origin.description): not of the form key.path=value")
        }
        let text = String(override[override.index(after: equals)...])
        let value = try ConfigTree.parse(text) { _ in origin }
        tree.set(value ?? ConfigTree(content: .scalar("", isQuoted: false), origin: origin), at: path[...])
    }
}

/// The text of a YAML file, never more than one byte above the size limit.
///
/// - Parameters:
///   - kind: of what it describes, for the error.
///   - example: a file of its kind, for the error.
func readText(path: String, kind: String, example: String) throws -> String {
    func unreadable() -> LockstepError {
        let reason = String(cString: strerror(errno))
        return LockstepError(
            .inputMissing,
            "\(path): cannot read the \(kind): \(reason); give a YAML file such as \(example)"
        )
    }
    guard let file = fopen(path, "rb") else { throw unreadable() }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: ConfigTree.sizeLimit + 1)
    let count = fread(&bytes, 1, bytes.count, file)
    guard ferror(file) == 0 else { throw unreadable() }
    guard let text = String(validating: bytes[..<count], as: UTF8.self) else {
        throw Origin.file(path).error("not UTF-8 text; save it as UTF-8")
    }
    return text
}
