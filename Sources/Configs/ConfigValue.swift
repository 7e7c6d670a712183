/// A value that a configuration key can hold.
protocol ConfigValue {
    /// What a user has to write, as in "must be a whole number".
    static var expectation: String { get }
    /// The allowed words, if the value is one of a few.
    static var choices: [String] { get }
    /// Nil when the tree holds something else.
    init?(_ tree: ConfigTree)
    /// As written in a configuration file.
    var yaml: String { get }
}

extension ConfigValue {
    static var choices: [String] { [] }
}

extension Int: ConfigValue {
    static var expectation: String { "a whole number" }
    init?(_ tree: ConfigTree) { self.init(tree.plainText ?? "") }
    var yaml: String { description }
}

extension UInt64: ConfigValue {
    static var expectation: String { "a whole number from 0 to \(UInt64.max)" }
    init?(_ tree: ConfigTree) { self.init(tree.plainText ?? "") }
    var yaml: String { description }
}

extension Double: ConfigValue {
    static var expectation: String { "a number" }
    init?(_ tree: ConfigTree) {
        // Swift would also read hexadecimal, infinity and nan.
        guard let text = tree.plainText, text.allSatisfy({ "0123456789.+-eE".contains($0) }),
            let value = Double(text), value.isFinite
        else { return nil }
        self = value
    }
    var yaml: String { description }
}

extension Bool: ConfigValue {
    static var expectation: String { "true or false" }
    init?(_ tree: ConfigTree) { self.init(tree.plainText ?? "") }
    var yaml: String { description }
}

extension String: ConfigValue {
    static var expectation: String { "a text" }
    init?(_ tree: ConfigTree) {
        guard case .scalar(let text, _) = tree.content, !tree.isNull else { return nil }
        self = text
    }

    /// Unquoted where that is safe, otherwise in double quotes with everything unusual escaped.
    var yaml: String {
        func isPlain(_ scalar: Unicode.Scalar) -> Bool {
            scalar.isASCII
                && (scalar.properties.isAlphabetic || "0123456789_-./".unicodeScalars.contains(scalar))
        }
        if let first = unicodeScalars.first, first.properties.isAlphabetic, self != "null",
            unicodeScalars.allSatisfy(isPlain)
        {
            return self
        }
        let escaped = unicodeScalars.map { scalar in
            if isPlain(scalar) || scalar == " " { return String(scalar) }
            let digits = String(scalar.value, radix: 16)
            return "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
        }
        return "\"\(escaped.joined())\""
    }
}

extension Array: ConfigValue where Element: ConfigValue & Numeric {
    static var expectation: String { "a list of numbers" }
    init?(_ tree: ConfigTree) {
        guard case .list(let elements) = tree.content else { return nil }
        let values = elements.compactMap { Element($0) }
        guard values.count == elements.count else { return nil }
        self = values
    }
    var yaml: String { "[\(map(\.yaml).joined(separator: ", "))]" }
}

extension Optional: ConfigValue where Wrapped: ConfigValue {
    static var expectation: String { "\(Wrapped.expectation) or null" }
    init?(_ tree: ConfigTree) {
        if tree.isNull {
            self = .none
        } else if let value = Wrapped(tree) {
            self = .some(value)
        } else {
            return nil
        }
    }
    var yaml: String { map(\.yaml) ?? "null" }
}

/// A whole number, or none, which is written `auto`.
protocol WholeOrAuto: ConfigValue {
    var number: Int? { get }
    init(number: Int?)
}

extension WholeOrAuto {
    static var expectation: String { "auto or a whole number" }
    init?(_ tree: ConfigTree) {
        if tree.plainText == "auto" {
            self.init(number: nil)
        } else if let number = Int(tree) {
            self.init(number: number)
        } else {
            return nil
        }
    }
    var yaml: String { number?.yaml ?? "auto" }
}

extension TrainConfig.MicroBatch: WholeOrAuto {
    var number: Int? { if case .sequences(let count) = self { count } else { nil } }
    init(number: Int?) { self = number.map(Self.sequences) ?? .auto }
}

extension ParallelConfig.BucketSize: WholeOrAuto {
    var number: Int? { if case .mebibytes(let count) = self { count } else { nil } }
    init(number: Int?) { self = number.map(Self.mebibytes) ?? .auto }
}

extension DataConfig.Tokenizer: ConfigValue {
    static var expectation: String { "bytes or the path of a tokenizer.json" }
    init?(_ tree: ConfigTree) {
        guard let text = String(tree) else { return nil }
        if text == "bytes" {
            self = .bytes
        } else if text.hasSuffix(".json") {
            self = .file(text)
        } else {
            return nil
        }
    }
    var yaml: String { name.yaml }
}

/// A value that is one of a few words.
protocol Choice: ConfigValue, CaseIterable, RawRepresentable where RawValue == String {}

extension Choice {
    static var expectation: String { "one of \(choices.joined(separator: ", "))" }
    static var choices: [String] { allCases.map(\.rawValue) }
    init?(_ tree: ConfigTree) {
        guard let text = String(tree) else { return nil }
        self.init(rawValue: text)
    }
    var yaml: String { rawValue.yaml }
}

extension ModelConfig.Family: Choice {}
extension ModelConfig.NormPlacement: Choice {}
extension ModelConfig.NormType: Choice {}
extension ModelConfig.Positions: Choice {}
extension ModelConfig.Activation: Choice {}
extension ModelConfig.AttentionMode: Choice {}
extension DataConfig.Task: Choice {}
extension DataConfig.Format: Choice {}
extension DataConfig.Packing: Choice {}
extension OptimizerConfig.Name: Choice {}
extension ScheduleConfig.Name: Choice {}
extension TrainConfig.NonFiniteAction: Choice {}
extension PrecisionConfig.Format: Choice {}
extension PrecisionConfig.ActivationFormat: Choice {}
extension PrecisionConfig.MatMulPrecision: Choice {}
extension ParallelConfig.Reduction: Choice {}
extension ClusterConfig.Launcher: Choice {}
