import Configs
import Foundation
import Transformer

/// A tensor of a Hugging Face checkpoint, and the rows of one of the model's that it holds.
struct TensorPart {
    let name: String
    /// Of the model's matrix `[out, in]`, or elements of its vector.
    let rows: Range<Int>
    /// Whether the file has `[in, out]`.
    let isTransposed: Bool

    /// In the file.
    func shape(in tensor: ParameterTensor) -> [Int] {
        guard tensor.shape.count > 1 else { return [rows.count] }
        let shape = [rows.count, tensor.slot.columns]
        return isTransposed ? shape.reversed() : shape
    }
}

extension Architecture {
    /// The architecture in which Hugging Face has a model like `model`. Throws `.badConfiguration` when there is none.
    init(of model: ModelConfig) throws {
        let isDecoder =
            model.family == .decoder && model.norm == .pre && model.finalNorm && !model.embeddingNorm
            && !model.headTransform && model.tokenTypes == 0
        let isEncoder =
            model.family == .encoder && model.norm == .post && !model.finalNorm && model.embeddingNorm
            && model.headTransform && model.tokenTypes > 0 && model.tieEmbeddings
        let isOfGPT2 =
            model.positions == .learned && model.normType == .layer && model.biases && !model.gated
            && model.numKVHeads == model.numHeads && !model.scaleEmbeddings
        let isOfLlama =
            model.positions == .rotary && model.normType == .rms && !model.biases && model.gated
            && model.activation == .silu && !model.scaleEmbeddings
        switch (isDecoder, isEncoder) {
        case _ where model.family == .encoderDecoder:
            try Self.requireMarian(model)
            self = .marian
        case (true, _) where isOfGPT2: self = .gpt2
        case (true, _) where isOfLlama: self = .llama
        case (_, true) where isOfGPT2: self = .bert
        default:
            throw LockstepError(
                .badConfiguration,
                "a model of this kind is neither GPT-2 (norm: pre, norm_type: layer, positions: learned, biases, not "
                    + "gated) nor Llama (norm: pre, norm_type: rms, positions: rotary, activation: silu, gated, no biases) "
                    + "nor BERT (family: encoder, norm: post, norm_type: layer, positions: learned, token_types, "
                    + "embedding_norm, head_transform, tie_embeddings, biases, not gated) nor an encoder-decoder, which are "
                    + "what can be exported"
            )
        }
    }

    /// The tensors that hold `tensor` of a model of this architecture, in its order of rows.
    func parts(of tensor: ParameterTensor, _ model: ModelConfig) -> [TensorPart] {
        let words = tensor.name.split(separator: ".").map(String.init)
        let kind = words.last ?? ""
        // The number of a layer is behind this word; before it, of an encoder–decoder, is the name of the stack.
        let layers = words.firstIndex(of: "layers")
        let isOfLayer = layers != nil
        let path = words[(layers.map { $0 + 2 } ?? 0)..<words.count - 1].joined(separator: ".")
        let prefix = layers.map { "\(layersPrefix(of: words[0]))\(words[$0 + 1])." } ?? ""
        let names = isOfLayer ? layerNames[path] : modelNames[path]
        guard let names else { preconditionFailure("\(rawValue) has no tensor \(tensor.name)") }
        let sizes = names.count == 1 ? [tensor.shape[0]] : rowCounts(of: path, model)
        var first = 0
        return zip(names, sizes).map { name, count in
            defer { first += count }
            let isTransposed = self == .gpt2 && isOfLayer && tensor.shape.count == 2
            return TensorPart(
                name: "\(prefix)\(name).\(kind)", rows: first..<first + count, isTransposed: isTransposed)
        }
    }

    /// What checkpoints may have beside parameters: masks, frequencies and numbers of positions that old versions saved, of
    /// BERT the second task of its pretraining and the tied weights of its head once more, and `constants`.
    func isBuffer(_ name: String) -> Bool {
        switch self {
        case .gpt2: name.hasSuffix(".attn.bias") || name.hasSuffix(".attn.masked_bias")
        case .llama: name.hasSuffix(".rotary_emb.inv_freq")
        case .bert:
            name == "bert.embeddings.position_ids"
                || ["bert.pooler.", "cls.seq_relationship.", "cls.predictions.decoder."]
                    .contains(where: name.hasPrefix)
        case .marian: false
        }
    }

    /// As checkpoints of TensorFlow's time call the tensor `name`.
    func oldName(of name: String) -> String {
        guard self == .bert else { return name }
        return name.replacingOccurrences(of: "LayerNorm.weight", with: "LayerNorm.gamma")
            .replacingOccurrences(of: "LayerNorm.bias", with: "LayerNorm.beta")
    }

    /// What the names of the body of a model with a head begin with; the body saved alone goes without it.
    var bodyPrefix: String {
        switch self {
        case .gpt2: "transformer."
        case .llama: "model."
        case .bert: "bert."
        case .marian: "model."
        }
    }

    private func layersPrefix(of stack: String) -> String {
        switch self {
        case .gpt2: "transformer.h."
        case .llama: "model.layers."
        case .bert: "bert.encoder.layer."
        case .marian: "model.\(stack).layers."
        }
    }

    private var modelNames: [String: [String]] {
        switch self {
        case .gpt2:
            [
                "token_embedding": ["transformer.wte"], "position_embedding": ["transformer.wpe"],
                "final_norm": ["transformer.ln_f"], "head": ["lm_head"],
            ]
        case .llama:
            ["token_embedding": ["model.embed_tokens"], "final_norm": ["model.norm"], "head": ["lm_head"]]
        case .bert:
            [
                "token_embedding": ["bert.embeddings.word_embeddings"],
                "position_embedding": ["bert.embeddings.position_embeddings"],
                "token_type_embedding": ["bert.embeddings.token_type_embeddings"],
                "embedding_norm": ["bert.embeddings.LayerNorm"],
                "head.dense": ["cls.predictions.transform.dense"],
                "head.norm": ["cls.predictions.transform.LayerNorm"], "head": ["cls.predictions"],
            ]
        case .marian:
            [
                "token_embedding": ["model.shared"],
                "encoder.token_embedding": ["model.encoder.embed_tokens"],
                "decoder.token_embedding": ["model.decoder.embed_tokens"], "head": ["lm_head"],
            ]
        }
    }

    /// GPT-2's linear maps are convolutions of width one with weights `[in, out]`; the others have queries, keys and values,
    /// and Llama the two halves of a gated layer, apart.
    private var layerNames: [String: [String]] {
        switch self {
        case .gpt2:
            [
                "attention_norm": ["ln_1"], "attention.qkv": ["attn.c_attn"],
                "attention.output": ["attn.c_proj"], "mlp_norm": ["ln_2"], "mlp.up": ["mlp.c_fc"],
                "mlp.down": ["mlp.c_proj"],
            ]
        case .llama:
            [
                "attention_norm": ["input_layernorm"],
                "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                "attention.output": ["self_attn.o_proj"], "mlp_norm": ["post_attention_layernorm"],
                "mlp.gate_up": ["mlp.gate_proj", "mlp.up_proj"], "mlp.down": ["mlp.down_proj"],
            ]
        case .bert:
            [
                "attention.qkv": [
                    "attention.self.query", "attention.self.key", "attention.self.value",
                ], "attention.output": ["attention.output.dense"],
                "attention_norm": ["attention.output.LayerNorm"], "mlp.up": ["intermediate.dense"],
                "mlp.down": ["output.dense"], "mlp_norm": ["output.LayerNorm"],
            ]
        case .marian:
            [
                "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                "attention.output": ["self_attn.out_proj"], "attention_norm": ["self_attn_layer_norm"],
                "cross_attention.query": ["encoder_attn.q_proj"],
                "cross_attention.key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
                "cross_attention.output": ["encoder_attn.out_proj"],
                "cross_attention_norm": ["encoder_attn_layer_norm"], "mlp.up": ["fc1"],
                "mlp.down": ["fc2"], "mlp_norm": ["final_layer_norm"],
            ]
        }
    }

    /// Rows of the parts of a tensor that is kept in several.
    private func rowCounts(of path: String, _ model: ModelConfig) -> [Int] {
        let keys = model.dModel / model.numHeads * model.numKVHeads
        return switch path {
        case "attention.qkv": [model.dModel, keys, keys]
        case "cross_attention.key_value": [keys, keys]
        default: [model.dFF, model.dFF]
        }
    }
}
