/// A value of JSON, as far as a model's configuration has them.
enum JSONField: Decodable {
    case whole(Int), number(Double), truth(Bool), text(String), absent
    case object([String: JSONField])
    case list

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .absent
        } else if let truth = try? value.decode(Bool.self) {
            self = .truth(truth)
        } else if let whole = try? value.decode(Int.self) {
            self = .whole(whole)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let object = try? value.decode([String: JSONField].self) {
            self = .object(object)
        } else {
            self = .list
        }
    }

    /// As in JSON, for messages.
    var description: String {
        switch self {
        case .whole(let value): value.description
        case .number(let value): value.description
        case .truth(let value): value.description
        case .text(let value): excerpt(value)
        case .absent: "not there"
        case .object: "an object"
        case .list: "a list"
        }
    }
}

/// The values of `config.json`; what is wrong with one is thrown with its name.
struct PretrainedFields {
    let values: [String: JSONField]
    let origin: Origin

    private func value(_ name: String) -> JSONField { values[name] ?? .absent }

    private func mismatch(_ name: String, _ expected: String) -> LockstepError {
        origin.error("\(name) must be \(expected), but is \(value(name).description)")
    }

    func whole(_ name: String, default fallback: Int? = nil) throws -> Int {
        if case .absent = value(name), let fallback { return fallback }
        guard case .whole(let whole) = value(name) else { throw mismatch(name, "a whole number") }
        return whole
    }

    func number(_ name: String, default fallback: Double) throws -> Double {
        switch value(name) {
        case .absent: return fallback
        case .whole(let whole): return Double(whole)
        case .number(let number): return number
        default: throw mismatch(name, "a number")
        }
    }

    func truth(_ name: String, default fallback: Bool) throws -> Bool {
        if case .absent = value(name) { return fallback }
        guard case .truth(let truth) = value(name) else { throw mismatch(name, "true or false") }
        return truth
    }

    func text(_ name: String, default fallback: String? = nil) throws -> String {
        if case .absent = value(name), let fallback { return fallback }
        guard case .text(let text) = value(name) else { throw mismatch(name, "a text") }
        return text
    }

    /// What stands for a word.
    func choice(_ name: String, _ choices: [String: String], default fallback: String) throws -> String {
        guard let choice = choices[try text(name, default: fallback)] else {
            throw mismatch(name, "one of \(choices.keys.sorted().joined(separator: ", "))")
        }
        return choice
    }

    /// What the program's arithmetic fixes.
    func require(_ name: String, _ expected: Bool, default fallback: Bool) throws {
        guard try truth(name, default: fallback) == expected else { throw mismatch(name, "\(expected)") }
    }

    func require(_ name: String, _ expected: Int) throws {
        guard try whole(name, default: expected) == expected else { throw mismatch(name, "\(expected)") }
    }

    /// A count that two keys give alike.
    func shared(_ name: String, _ other: String) throws -> Int {
        let count = try whole(name)
        guard try whole(other) == count else { throw mismatch(other, "\(count), as \(name) is") }
        return count
    }

    /// Throws when there is a key of which nobody knows what it changes.
    func requireKnown(_ names: Set<String>) throws {
        guard let unknown = values.keys.filter({ !names.contains($0) }).min() else { return }
        throw origin.error(
            "\(excerpt(unknown)) is \(value(unknown).description), a key that this version does not know; take it out if the "
                + "model is the same without it")
    }

    /// Nil where it is something else.
    func wholeIfAny(_ name: String) -> Int? {
        if case .whole(let whole) = value(name) { whole } else { nil }
    }

    /// Of rotary positions without scaling: within `rope_parameters`, where transformers 5 has it, or beside the others.
    func rotaryBase() throws -> Double {
        for name in ["rope_parameters", "rope_scaling"] {
            switch value(name) {
            case .absent: continue
            case .object(let inner):
                let parameters = PretrainedFields(values: inner, origin: origin)
                _ = try parameters.choice("rope_type", ["default": "default"], default: "default")
                return try parameters.number("rope_theta", default: number("rope_theta", default: 10_000))
            default: throw mismatch(name, "an object")
            }
        }
        return try number("rope_theta", default: 10_000)
    }
}
