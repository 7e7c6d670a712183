import Foundation

/// Architectures of Hugging Face checkpoints that can be read and written, by their `model_type`.
package enum Architecture: String, CaseIterable, Sendable {
    case gpt2, llama, bert, marian
}

/// The model that `config.json` of a Hugging Face checkpoint describes, in the keys of a configuration.
package struct PretrainedConfig {
    package let path: String
    package let architecture: Architecture
    /// The tokens that begin and end a target; nil where it does not say, or has none.
    package let targetMarkers: (start: Int, end: Int)?
    /// Keys below `model` with their values as a configuration writes them.
    private let keys: [(name: String, value: String)]

    /// Reads `config.json` in `folder`. Throws `.inputMissing`, or `.badConfiguration` that names the file and what in it
    /// this program cannot do.
    package static func read(_ folder: String) throws -> PretrainedConfig {
        try PretrainedConfig(path: "\(folder)/\(fileName)")
    }

    package static let fileName = "config.json"
    private static let largest = 1 << 20

    private init(path: String) throws {
        let file = Origin.file(path)
        let text = try InputFile(path).contents(limit: Self.largest)
        guard let json = try? JSONDecoder().decode([String: JSONField].self, fromUntrusted: text) else {
            throw file.error("not the JSON of a Hugging Face model's configuration")
        }
        let fields = PretrainedFields(values: json, origin: file)
        let name = try fields.text("model_type")
        guard let architecture = Architecture(rawValue: name) else {
            let known = Architecture.allCases.map(\.rawValue).joined(separator: ", ")
            throw file.error("model_type is \(excerpt(name)), but this version supports only \(known)")
        }
        self.path = path
        self.architecture = architecture
        keys = try architecture.keys(fields)
        let markers = ["decoder_start_token_id", "eos_token_id"].compactMap(fields.wholeIfAny)
        targetMarkers = architecture == .marian && markers.count == 2 ? (markers[0], markers[1]) : nil
    }

    /// Gives a configuration with `model.from` the keys of the model's shape that it leaves out, and returns where they come
    /// from. One that has them all stands for itself, so that the configuration of a run does not need the folder.
    static func complete(_ tree: inout ConfigTree) throws -> PretrainedConfig? {
        guard let model = tree["model"], let from = model["from"], let folder = String(from) else {
            return nil
        }
        let names = Set(shapeKeys)
        guard names.contains(where: { model[$0] == nil }) else { return nil }
        let pretrained: PretrainedConfig
        do {
            pretrained = try read(folder)
        } catch let error as LockstepError {
            let text = excerpt("model.from: \(error.description)", limit: 1500)
            throw LockstepError(error.status, "\(from.origin.description): \(text)")
        }
        for key in pretrained.keys where model[key.name] == nil {
            let value = ConfigTree(
                content: .scalar(key.value, isQuoted: false), origin: .file(pretrained.path))
            tree.set(value, at: ["model", key.name])
        }
        return pretrained
    }

    /// Keys that a `config.json` decides.
    private static let shapeKeys = [
        "family", "num_layers", "encoder_layers", "d_model", "num_heads", "num_kv_heads", "d_ff",
        "context_length", "source_length", "vocab_size", "token_types", "embedding_norm", "head_transform",
        "norm", "norm_type", "final_norm", "norm_epsilon", "positions", "scale_embeddings", "activation",
        "gated", "biases", "tie_embeddings", "share_embeddings",
    ]

    /// What `model` has otherwise; nil when it is the model described.
    package func disagreement(with model: ModelConfig) -> String? {
        let values = Dictionary(
            uniqueKeysWithValues: ModelConfig.keys.flatMap { $0.values(model) }.map { ($0.path, $0.value) })
        for (name, value) in keys where values[name] != value {
            let isLength = architecture == .marian && ["context_length", "source_length"].contains(name)
            if isLength, let length = values[name].flatMap(Int.init), let most = Int(value), length < most {
                // Its positions are computed, and shorter sequences have the same.
                continue
            }
            return "model.\(name) is \(values[name] ?? "unknown"), but \(excerpt(path, limit: 1000)) has "
                + "\(excerpt(value)); leave the key out or \(isLength ? "lower it" : "make them equal")"
        }
        return nil
    }
}

extension RunConfig {
    /// A configuration that fine-tunes the Hugging Face checkpoint in `folder` on the text `data/corpus.txt`, or an
    /// encoder–decoder on `data/pairs.tsv`, with its tokenizer when it has one. Throws `.inputMissing` and `.badConfiguration` as `PretrainedConfig.read` does.
    package static func fineTuning(_ folder: String) throws -> RunConfig {
        // By itself, so that what is wrong with the file is said as of the file.
        let pretrained = try PretrainedConfig.read(folder)
        let data =
            pretrained.architecture == .marian ? "task: pairs, path: data/pairs.tsv" : "path: data/corpus.txt"
        let tokenizer = "\(folder)/tokenizer.json"
        let isThere = FileManager.default.fileExists(atPath: tokenizer)
        return try parse(
            """
            name: fine-tuned
            model: {from: \(folder.yaml)}
            data: {\(data), tokenizer: \(isThere ? tokenizer.yaml : "bytes")}
            train:
              steps: 1000
              global_batch: 8
              optimizer: {name: adamw, learning_rate: 5e-5, betas: [0.9, 0.999], weight_decay: 0.01}
              schedule: {name: cosine, warmup_steps: 100}
            """, source: "\(folder)/\(PretrainedConfig.fileName)")
    }
}
