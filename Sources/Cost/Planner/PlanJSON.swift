import Configs
import Foundation

extension Plan {
    /// The plan for programs.
    ///
    /// - Parameters:
    ///   - path, overrides: of the configuration, for the line that starts it.
    ///   - largest: whether the model was sought, and not given.
    public func json(path: String, overrides: [String], largest: Bool = false) throws -> String {
        let document = Document(
            name: config.name, cluster: cluster.name, parameters: parameters, steps: goal.steps,
            tokens: goal.tokens, deadline: goal.deadline, candidates: candidates, recommended: recommended,
            command: recommended.map { launchLine($0, path: path, overrides: overrides) }, refused: refused,
            knobs: knobs, notes: notes,
            model: largest ? .init(config.model) : nil)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(document), as: UTF8.self) + "\n"
    }

    private struct Document: Encodable {
        let schemaVersion = 1
        let name: String
        let cluster: String
        let parameters: Int
        let steps: Int
        let tokens: Double
        let deadline: Double?
        let candidates: [PlanCandidate]
        @Known var recommended: PlanCandidate?
        @Known var command: String?
        let refused: [Plan.Refusal]
        let knobs: [MemoryKnob]
        let notes: [String]
        let model: Shape?

        enum CodingKeys: String, CodingKey {
            case name, cluster, parameters, steps, tokens, candidates, recommended, command, refused, knobs,
                notes, model
            case schemaVersion = "schema_version"
            case deadline = "deadline_seconds"
        }

        struct Shape: Encodable {
            let numLayers, dModel, numHeads, numKVHeads, dFF: Int

            init(_ model: ModelConfig) {
                (numLayers, dModel, numHeads, numKVHeads, dFF) = (
                    model.numLayers, model.dModel, model.numHeads, model.numKVHeads, model.dFF
                )
            }

            enum CodingKeys: String, CodingKey {
                case numLayers = "num_layers"
                case dModel = "d_model"
                case numHeads = "num_heads"
                case numKVHeads = "num_kv_heads"
                case dFF = "d_ff"
            }
        }
    }
}

/// Encoded as null, not left out, when there is none.
@propertyWrapper
private struct Known<Value: Encodable>: Encodable {
    var wrappedValue: Value?

    init(wrappedValue: Value?) {
        self.wrappedValue = wrappedValue
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
    }
}
