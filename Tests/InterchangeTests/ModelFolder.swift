import Foundation
import Interchange
import Kernels
import TestSupport
import Transformer
import TransformerTestSupport

/// A place for a model in the files of Hugging Face, of which nothing is left.
final class ModelFolder {
    let path = NSTemporaryDirectory() + "lockstep-exchange-\(UUID().uuidString)"

    deinit { remove() }

    func remove() { try? FileManager.default.removeItem(atPath: path) }

    var exists: Bool { FileManager.default.fileExists(atPath: path) }

    func save(_ model: FixtureModel) throws {
        try PretrainedModel.save(
            model.network.config, layout: model.network.layout, parameters: model.network.parameters,
            tokenizer: .bytes, to: path)
    }

    func load(as model: FixtureModel) throws {
        try PretrainedModel.load(
            path, config: model.network.config, layout: model.network.layout, into: model.network.parameters)
    }

    /// Whether `model` has the same numbers after it was loaded over others.
    func gives(_ model: FixtureModel, _ expected: [UInt32]) throws -> Bool {
        Reductions.fill(model.network.parameters, with: 7)
        try load(as: model)
        return bits(model.network.parameters) == expected
    }

    func tensors() throws -> SafetensorsFixture {
        try SafetensorsFixture(contentsOf: URL(filePath: "\(path)/model.safetensors"))
    }

    func json(_ name: String) throws -> [String: Any]? {
        try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: "\(path)/\(name)")))
            as? [String: Any]
    }

    /// Replaces the tensors of the saved model.
    func rewrite(_ change: (inout [String: ([Int], [Float])]) throws -> Void) throws {
        let file = try tensors()
        var tensors: [String: ([Int], [Float])] = [:]
        for name in file.tensors.keys { tensors[name] = (try file.shape(name), try file.floats(name)) }
        try change(&tensors)
        let ordered = tensors.sorted { $0.key < $1.key }
        var data = try TensorFile.header(ordered.map { ($0.key, $0.value.0) })
        for (_, (_, values)) in ordered { values.withUnsafeBytes { data.append(contentsOf: $0) } }
        try data.write(to: URL(filePath: "\(path)/model.safetensors"))
    }
}

func bits(_ vector: Vector) -> [UInt32] { (0..<vector.count).map { vector[$0].bitPattern } }
