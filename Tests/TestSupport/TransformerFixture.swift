import Foundation

/// PyTorch's answers for one small model, written by `Tests/Fixtures/make-transformer-fixtures.py`.
public struct TransformerFixture: Sendable {
    public static let decoders = [
        "small", "untied-erf", "relu-wide", "ignored", "llama", "vaswani", "post-gated", "rms-biased",
    ]
    public static let encoders = ["bert", "encoder-pre", "encoder-plain"]
    public static let encoderDecoders = ["marian", "seq2seq-pre", "seq2seq-gated"]
    public static var names: [String] { decoders + encoders + encoderDecoders }

    /// The `model:` and `train:` sections of a configuration, as JSON with the keys of the YAML files.
    public let model: Data
    public let train: Data
    /// In the order of the parameter arena.
    public let parameterNames: [String]
    /// Targets that are not -1.
    public let validTargets: Int
    /// Loss per valid target with the initial parameters and label smoothing, in nats.
    public let meanLoss: Double
    /// Mean loss and gradient norm (before clipping) at the start of each training step on the one batch.
    public let losses: [Double]
    public let gradientNorms: [Double]
    /// `inputs` and `targets` [b,s] int32; `logits` [b,s,V] float32; of an encoder `lengths` [b] int32, of an
    /// encoder–decoder `sources` [b,S] and `source_lengths` [b] int32.
    public let tensors: SafetensorsFixture
    public let labelSmoothing: Double

    public init(_ name: String) throws {
        let json = try Fixture.json("transformer/" + name)
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let answers = try decoder.decode(Answers.self, from: json)
        let sections = try JSONSerialization.jsonObject(with: json) as? [String: Any] ?? [:]
        model = try JSONSerialization.data(withJSONObject: sections["model"] ?? [:])
        train = try JSONSerialization.data(withJSONObject: sections["train"] ?? [:])
        parameterNames = answers.parameterNames
        validTargets = answers.validTargets
        meanLoss = answers.meanLoss
        losses = answers.losses
        gradientNorms = answers.gradientNorms
        // Older fixtures have none.
        labelSmoothing = (sections["train"] as? [String: Any])?["label_smoothing"] as? Double ?? 0
        tensors = try Fixture.tensors("transformer/" + name)
    }

    public func parameter(_ name: String) throws -> [Float] { try tensors.floats("parameters/" + name) }

    /// Gradient of the mean loss over the valid targets.
    public func gradient(_ name: String) throws -> [Float] { try tensors.floats("gradients/" + name) }

    private struct Answers: Decodable {
        let parameterNames: [String]
        let validTargets: Int
        let meanLoss: Double
        let losses: [Double]
        let gradientNorms: [Double]
    }
}
