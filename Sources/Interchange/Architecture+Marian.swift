import Configs

extension Architecture {
    /// Throws `.badConfiguration` with all that the encoder–decoder `model` has and Marian has not.
    static func requireMarian(_ model: ModelConfig) throws {
        let keys = [
            ("norm", model.norm.rawValue, "post"), ("norm_type", model.normType.rawValue, "layer"),
            ("final_norm", "\(model.finalNorm)", "false"),
            ("norm_epsilon", "\(model.normEpsilon)", "\(1e-5)"),
            ("positions", model.positions.rawValue, "sinusoidal"), ("gated", "\(model.gated)", "false"),
            ("biases", "\(model.biases)", "true"),
            ("num_kv_heads", "\(model.numKVHeads)", "\(model.numHeads)"),
            ("token_types", "\(model.tokenTypes)", "0"),
            ("embedding_norm", "\(model.embeddingNorm)", "false"),
            ("head_transform", "\(model.headTransform)", "false"),
            // Untied, transformers keeps all embeddings apart.
            ("tie_embeddings", "\(model.tieEmbeddings)", "\(model.tieEmbeddings || model.shareEmbeddings)"),
        ]
        let differences = keys.filter { $0.1 != $0.2 }.map { "\($0.0): \($0.2) where this has \($0.1)" }
        guard differences.isEmpty else {
            throw LockstepError(
                .badConfiguration,
                "of encoder-decoders only Marian can be exported, which has \(differences.joined(separator: ", "))"
            )
        }
    }

    /// `config.json` of an encoder–decoder whose sources and targets end with one of `ends`.
    static func marian(_ model: ModelConfig, _ ends: LineEnds) -> [String: JSONValue] {
        let (heads, hidden) = (JSONValue.whole(model.numHeads), JSONValue.whole(model.dFF))
        let dropout = JSONValue.number(model.dropout)
        let shape: [String: JSONValue] = [
            "model_type": .text(Self.marian.rawValue), "architectures": .list([.text("MarianMTModel")]),
            "is_encoder_decoder": .truth(true),
            "vocab_size": .whole(model.vocabSize), "decoder_vocab_size": .whole(model.vocabSize),
            "max_position_embeddings": .whole(max(model.contextLength, model.sourceLength)),
            "d_model": .whole(model.dModel), "encoder_layers": .whole(model.encoderLayers),
            "decoder_layers": .whole(model.numLayers), "encoder_attention_heads": heads,
            "decoder_attention_heads": heads, "encoder_ffn_dim": hidden, "decoder_ffn_dim": hidden,
            "activation_function": .text(name(of: model.activation)),
            "scale_embedding": .truth(model.scaleEmbeddings),
            "share_encoder_decoder_embeddings": .truth(model.shareEmbeddings),
            "tie_word_embeddings": .truth(model.tieEmbeddings), "dropout": dropout,
            "attention_dropout": dropout, "activation_dropout": .number(0), "dtype": .text("float32"),
        ]
        return shape.merging(markers(ends)) { $1 }
    }

    /// `generation_config.json` that makes `generate` write what this program writes: greedily, up to the first token that
    /// ends a line, and at most as many tokens as a target may have.
    static func marianGeneration(_ model: ModelConfig, _ ends: LineEnds) -> [String: JSONValue] {
        var settings = markers(ends)
        if ends.all.count > 1 { settings["eos_token_id"] = .list(ends.all.map(JSONValue.whole)) }
        settings["max_length"] = .whole(model.contextLength + 1)
        settings["num_beams"] = .whole(1)
        settings["do_sample"] = .truth(false)
        return settings
    }

    /// What begins a target also ends it, and fills up what is too short. Marian would have an end forced on targets that
    /// are too long.
    private static func markers(_ ends: LineEnds) -> [String: JSONValue] {
        let end = JSONValue.whole(ends.newline)
        return [
            "decoder_start_token_id": end, "eos_token_id": end, "pad_token_id": end, "bos_token_id": .null,
            "forced_bos_token_id": .null, "forced_eos_token_id": .null,
        ]
    }
}
