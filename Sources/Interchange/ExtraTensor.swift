import Configs
import Foundation
import Kernels

/// A tensor that a checkpoint may have beside the parameters, with the numbers that it must hold.
struct ExtraTensor {
    enum Content {
        case zeros, sinusoids
        /// Of the tensor with another name.
        case copy(String)
    }

    let name: String
    let content: Content
}

extension Architecture {
    /// Of Marian, a bias of its head, which no training changes; positions and, where embeddings are shared or tied, what they
    /// are shared by, which old versions saved.
    func extras(_ model: ModelConfig) -> [ExtraTensor] {
        guard self == .marian else { return [] }
        let sides = ["encoder", "decoder"]
        let shared = "model.shared.weight"
        let twins = model.shareEmbeddings ? sides.map { ("model.\($0).embed_tokens.weight", shared) } : []
        let ofHead = model.shareEmbeddings ? shared : "model.decoder.embed_tokens.weight"
        return [ExtraTensor(name: Self.biasOfMarian, content: .zeros)]
            + sides.map { ExtraTensor(name: "model.\($0).embed_positions.weight", content: .sinusoids) }
            + (twins + (model.tieEmbeddings ? [("lm_head.weight", ofHead)] : []))
            .map { ExtraTensor(name: $0, content: .copy($1)) }
    }

    /// Tensors of zeros that are written beside the parameters.
    func zeros(_ model: ModelConfig) -> [(name: String, shape: [Int])] {
        self == .marian ? [(Self.biasOfMarian, [1, model.vocabSize])] : []
    }

    private static let biasOfMarian = "final_logits_bias"
}

extension ExtraTensor {
    /// Throws `.badData` unless the tensor, called `name` in `file` and its original `original`, is what it must be; it need
    /// not be there.
    func require(
        in file: borrowing TensorFileReader, called name: (String) -> String, _ model: ModelConfig
    ) throws {
        let own = name(self.name)
        guard let entry = file.tensors[own] else { return }
        func bad(_ text: String) -> LockstepError {
            LockstepError(.badData, "\(file.path): tensor \(own) \(text)")
        }
        func requireShape(_ expected: [Int]) throws {
            guard entry.shape == expected else {
                throw bad("has the shape \(excerpt("\(entry.shape)")); expected \(expected)")
            }
        }
        switch content {
        case .zeros:
            try requireShape([1, model.vocabSize])
            let values = try Self.numbers(own, in: file)
            let all = values.vector
            guard (0..<all.count).allSatisfy({ all[$0] == 0 }) else {
                throw bad(
                    "is not zero: it is a bias of the head, which models of this kind have not here; only one of zeros is known"
                )
            }
        case .sinusoids:
            let rows = entry.shape.first ?? 0
            try requireShape([rows, model.dModel])
            let values = try Self.numbers(own, in: file)
            let sinusoids = try AlignedBuffer<Float>(count: values.count)
            Embedding.fillSinusoids(sinusoids.vector.matrix(rows: rows, columns: model.dModel))
            let (all, expected) = (values.vector, sinusoids.vector)
            guard (0..<all.count).allSatisfy({ abs(all[$0] - expected[$0]) < 1e-5 }) else {
                throw bad("holds other positions than sines and cosines, which are the only ones known")
            }
        case .copy(let original):
            guard let other = file.tensors[name(original)] else { return }
            try requireShape(other.shape)
            let values = try Self.numbers(own, in: file)
            let expected = try Self.numbers(name(original), in: file)
            guard memcmp(values.base, expected.base, values.bytes) == 0 else {
                throw bad("differs from \(name(original)), which config.json says it shares its numbers with")
            }
        }
    }

    private static func numbers(
        _ name: String, in file: borrowing TensorFileReader
    ) throws -> AlignedBuffer<Float> {
        let bytes = file.tensors[name]?.bytes ?? 0..<0
        let values = try AlignedBuffer<Float>(count: bytes.count / 4)
        try file.read(bytes, into: values.base)
        return values
    }
}
