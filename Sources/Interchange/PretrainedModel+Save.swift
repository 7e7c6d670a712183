import Configs
import Corpus
import Foundation
import Kernels
import Transformer

extension PretrainedModel {
    /// Writes a checkpoint of `transformers` into the folder `folder`, which is made when there is none. `config.json` comes
    /// last: without it nothing takes the folder for a model.
    ///
    /// - Parameters:
    ///   - parameters: as `layout` says.
    ///   - tokenizer: nil when there is none for the model's tokens; those of an encoder–decoder have one.
    /// - Throws: `.cannotCreate`, also when the folder holds a checkpoint already, and `.inputOutput`.
    package static func save(
        _ config: ModelConfig, layout: ParameterLayout, parameters: Vector, tokenizer: ExportedTokenizer?,
        to folder: String
    ) throws {
        let architecture = try Architecture(of: config)
        let ends = config.family == .encoderDecoder ? try tokenizer?.lineEnds() : nil
        let files = [PretrainedConfig.fileName, tensorsName]
        for name in files where FileManager.default.fileExists(atPath: "\(folder)/\(name)") {
            throw LockstepError(
                .cannotCreate,
                "\(folder): already holds a model (\(name)), which is never overwritten; name another folder")
        }
        if !FileManager.default.fileExists(atPath: folder) { try FileWriter.makeDirectory(folder) }
        try write(layout, config, parameters, architecture, to: "\(folder)/\(tensorsName)")
        if let tokenizer {
            for (name, content) in try tokenizer.files(for: config) {
                try FileWriter.write(content, to: "\(folder)/\(name)")
            }
        }
        if let generation = architecture.generation(of: config, ends) {
            try FileWriter.write(generation.bytes(), to: "\(folder)/generation_config.json")
        }
        try FileWriter.write(
            architecture.description(of: config, ends).bytes(),
            to: "\(folder)/\(PretrainedConfig.fileName)")
        try FileWriter.syncDirectory(folder)
    }

    /// Under a temporary name until it is whole.
    private static func write(
        _ layout: ParameterLayout, _ config: ModelConfig, _ parameters: Vector, _ architecture: Architecture,
        to path: String
    ) throws {
        let parts = layout.tensors.flatMap { tensor in
            architecture.parts(of: tensor, config).map { (tensor, $0) }
        }
        let zeros = architecture.zeros(config)
        let header = try TensorFile.header(parts.map { ($1.name, $1.shape(in: $0)) } + zeros)
        let staged = "\(path).tmp"
        let file = try FileWriter(staged)
        try header.withUnsafeBytes { try file.write($0) }
        for (tensor, part) in parts {
            let values = part.values(of: tensor, in: parameters)
            guard part.isTransposed else {
                try file.write(UnsafeRawBufferPointer(start: values.base, count: 4 * values.vector.count))
                continue
            }
            let rows = try TransposedRows(values)
            for first in stride(from: 0, to: rows.rows, by: rows.blockRows) {
                let range = first..<min(first + rows.blockRows, rows.rows)
                rows.fetch(range)
                try file.write(UnsafeRawBufferPointer(rows.bytes(range)))
            }
        }
        for (_, shape) in zeros {
            let values = [Float](repeating: 0, count: shape.reduce(1, *))
            try values.withUnsafeBytes { try file.write($0) }
        }
        try file.sync()
        try FileWriter.rename(staged, to: path)
    }
}

extension Architecture {
    /// `config.json` of `model`, with all that decides its arithmetic, and of an encoder–decoder what ends its texts.
    func description(of model: ModelConfig, _ ends: LineEnds?) -> JSONValue {
        switch self {
        case .gpt2: .object(Self.gpt2(model))
        case .llama: .object(Self.llama(model))
        case .bert: .object(Self.bert(model))
        case .marian: .object(Self.marian(model, Self.required(ends)))
        }
    }

    /// `generation_config.json` of `model`; nil where it does not generate.
    func generation(of model: ModelConfig, _ ends: LineEnds?) -> JSONValue? {
        switch self {
        case .gpt2, .llama: .object(["bos_token_id": .null, "eos_token_id": .null])
        case .bert: nil
        case .marian: .object(Self.marianGeneration(model, Self.required(ends)))
        }
    }

    private static func required(_ ends: LineEnds?) -> LineEnds {
        guard let ends else { preconditionFailure("an encoder–decoder has a tokenizer") }
        return ends
    }

    static func name(of activation: ModelConfig.Activation) -> String {
        switch activation {
        case .gelu: "gelu_new"
        case .geluErf: "gelu"
        case .relu: "relu"
        case .silu: "silu"
        }
    }

    private static func bert(_ model: ModelConfig) -> [String: JSONValue] {
        [
            "model_type": .text(Self.bert.rawValue), "architectures": .list([.text("BertForMaskedLM")]),
            "vocab_size": .whole(model.vocabSize), "max_position_embeddings": .whole(model.contextLength),
            "type_vocab_size": .whole(model.tokenTypes),
            "hidden_size": .whole(model.dModel), "intermediate_size": .whole(model.dFF),
            "num_hidden_layers": .whole(model.numLayers), "num_attention_heads": .whole(model.numHeads),
            "hidden_act": .text(name(of: model.activation)), "layer_norm_eps": .number(model.normEpsilon),
            "hidden_dropout_prob": .number(model.dropout),
            "attention_probs_dropout_prob": .number(model.dropout), "is_decoder": .truth(false),
            "tie_word_embeddings": .truth(true), "pad_token_id": .null, "dtype": .text("float32"),
        ]
    }

    private static func gpt2(_ model: ModelConfig) -> [String: JSONValue] {
        let dropout = JSONValue.number(model.dropout)
        return [
            "model_type": .text(Self.gpt2.rawValue), "architectures": .list([.text("GPT2LMHeadModel")]),
            "vocab_size": .whole(model.vocabSize), "n_positions": .whole(model.contextLength),
            "n_embd": .whole(model.dModel), "n_layer": .whole(model.numLayers),
            "n_head": .whole(model.numHeads),
            "n_inner": .whole(model.dFF), "activation_function": .text(name(of: model.activation)),
            "layer_norm_epsilon": .number(model.normEpsilon),
            "tie_word_embeddings": .truth(model.tieEmbeddings),
            "resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout,
            "scale_attn_weights": .truth(true), "scale_attn_by_inverse_layer_idx": .truth(false),
            "bos_token_id": .null, "eos_token_id": .null, "dtype": .text("float32"),
        ]
    }

    private static func llama(_ model: ModelConfig) -> [String: JSONValue] {
        [
            "model_type": .text(Self.llama.rawValue), "architectures": .list([.text("LlamaForCausalLM")]),
            "vocab_size": .whole(model.vocabSize), "max_position_embeddings": .whole(model.contextLength),
            "hidden_size": .whole(model.dModel), "intermediate_size": .whole(model.dFF),
            "num_hidden_layers": .whole(model.numLayers), "num_attention_heads": .whole(model.numHeads),
            "num_key_value_heads": .whole(model.numKVHeads),
            "head_dim": .whole(model.dModel / model.numHeads),
            "hidden_act": .text("silu"), "rms_norm_eps": .number(model.normEpsilon),
            "rope_theta": .number(model.rotaryBase),
            "rope_parameters": .object([
                "rope_type": .text("default"), "rope_theta": .number(model.rotaryBase),
            ]),
            "tie_word_embeddings": .truth(model.tieEmbeddings), "attention_bias": .truth(false),
            "mlp_bias": .truth(false), "attention_dropout": .number(model.dropout), "bos_token_id": .null,
            "eos_token_id": .null, "pad_token_id": .null, "dtype": .text("float32"),
        ]
    }
}
