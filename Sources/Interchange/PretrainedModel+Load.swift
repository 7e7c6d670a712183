import Configs
import Foundation
import Kernels
import Transformer

/// A model in the files of Hugging Face's `transformers`: `config.json` and `model.safetensors`.
package enum PretrainedModel {
    static let tensorsName = "model.safetensors"

    /// Reads the parameters of the checkpoint in `folder` into `parameters`, which lie as `layout` says.
    ///
    /// - Throws: `.inputMissing`, `.badConfiguration` when `config.json` describes another model than `config`, `.badData`
    ///   naming file and tensors when they are not those of this model, or not finite.
    package static func load(
        _ folder: String, config: ModelConfig, layout: ParameterLayout, into parameters: Vector
    ) throws {
        let pretrained = try PretrainedConfig.read(folder)
        if let problem = pretrained.disagreement(with: config) {
            throw LockstepError(.badConfiguration, problem)
        }
        let path = "\(folder)/\(tensorsName)"
        guard FileManager.default.fileExists(atPath: path) else {
            throw LockstepError(
                .inputMissing,
                "\(path): there is no such file; a checkpoint of another form becomes one by "
                    + "save_pretrained(DIR, max_shard_size=\"1TB\") in Python")
        }
        let file = try TensorFileReader(
            path,
            mostTensors: layout.tensors.count + mostBuffers * (config.numLayers + config.encoderLayers))
        let architecture = pretrained.architecture
        let isBody = !file.tensors.keys.contains { $0.hasPrefix(architecture.bodyPrefix) }
        func inFile(_ name: String) -> String {
            let isPrefixed = isBody && name.hasPrefix(architecture.bodyPrefix)
            let name = isPrefixed ? String(name.dropFirst(architecture.bodyPrefix.count)) : name
            let oldName = architecture.oldName(of: name)
            return file.tensors[name] == nil && file.tensors[oldName] != nil ? oldName : name
        }
        let parts = layout.tensors.map { ($0, architecture.parts(of: $0, config)) }
        let extras = architecture.extras(config)
        try requireNames(
            parts.flatMap { $0.1.map { inFile($0.name) } }, besides: extras.map { inFile($0.name) }, in: file,
            architecture)
        for extra in extras { try extra.require(in: file, called: inFile, config) }
        for (tensor, parts) in parts {
            for part in parts {
                try read(part, called: inFile(part.name), of: tensor, from: file, into: parameters)
            }
        }
    }

    /// Tensors beside or instead of each of a layer's, in old versions and where it is kept in parts.
    private static let mostBuffers = 12

    /// Throws `.badData` when `file` has not the tensors `names`, or others that are not among `extras`.
    private static func requireNames(
        _ names: [String], besides extras: [String], in file: borrowing TensorFileReader,
        _ architecture: Architecture
    ) throws {
        let known = Set(names + extras)
        let missing = names.filter { file.tensors[$0] == nil }
        let extra = file.tensors.keys.filter { !known.contains($0) && !architecture.isBuffer($0) }.sorted()
        let problems = [("misses", missing), ("has, which the model has not,", extra)].filter { !$1.isEmpty }
        guard problems.isEmpty else {
            let texts = problems.map { "\($0) \(list($1))" }
            throw LockstepError(
                .badData, "\(file.path): \(texts.joined(separator: "; ")): it is of another model")
        }
    }

    private static func list(_ names: [String]) -> String {
        names.prefix(6).map { excerpt($0) }.joined(separator: ", ")
            + (names.count > 6 ? " and \(names.count - 6) more" : "")
    }

    private static func read(
        _ part: TensorPart, called name: String, of tensor: ParameterTensor,
        from file: borrowing TensorFileReader, into parameters: Vector
    ) throws {
        func bad(_ text: String) -> LockstepError {
            LockstepError(.badData, "\(file.path): tensor \(name) \(text)")
        }
        guard let entry = file.tensors[name] else { throw bad("is missing") }
        let expected = part.shape(in: tensor)
        guard entry.shape == expected else {
            throw bad("has the shape \(excerpt("\(entry.shape)")); expected \(expected)")
        }
        let values = part.values(of: tensor, in: parameters)
        if part.isTransposed {
            let rows = try TransposedRows(values)
            let rowBytes = 4 * values.rows
            for first in stride(from: 0, to: rows.rows, by: rows.blockRows) {
                let range = first..<min(first + rows.blockRows, rows.rows)
                let start = entry.bytes.lowerBound + first * rowBytes
                try file.read(
                    start..<start + range.count * rowBytes, into: rows.bytes(range).baseAddress!)
                rows.putIntoPlace(range)
            }
        } else {
            try file.read(entry.bytes, into: UnsafeMutableRawPointer(values.base))
        }
        guard Reductions.sumOfSquares(values.vector).isFinite else {
            throw bad("holds numbers that are not finite")
        }
    }
}

extension TensorPart {
    /// Its rows of `tensor` among `parameters`.
    func values(of tensor: ParameterTensor, in parameters: Vector) -> Matrix {
        let isVector = tensor.shape.count == 1
        return parameters.slice(tensor.range)
            .matrix(rows: tensor.shape[0], columns: isVector ? 1 : tensor.slot.columns).rows(rows)
    }
}
