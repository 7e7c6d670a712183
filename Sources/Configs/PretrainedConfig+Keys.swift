extension Architecture {
    /// What `config.json` says of a model, as keys below `model` with their values.
    func keys(_ fields: PretrainedFields) throws -> [(name: String, value: String)] {
        switch self {
        case .gpt2: try Self.gpt2(fields)
        case .llama: try Self.llama(fields)
        case .bert: try Self.bert(fields)
        case .marian: try Self.marian(fields)
        }
    }

    /// What BERT has and others have not.
    static let noneOfBERT = [
        ("token_types", "0"), ("embedding_norm", "false"), ("head_transform", "false"),
    ]

    /// What an encoder–decoder has and others have not.
    private static let noSource = [("encoder_layers", "0"), ("source_length", "0")]

    static let activations = [
        "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "gelu": "gelu_erf", "relu": "relu", "silu": "silu",
        "swish": "silu",
    ]

    /// GPT-2 (Radford et al. 2019), as `GPT2Config` has it.
    private static func gpt2(_ fields: PretrainedFields) throws -> [(String, String)] {
        try fields.require("scale_attn_weights", true, default: true)
        try fields.require("scale_attn_by_inverse_layer_idx", false, default: false)
        try fields.require("add_cross_attention", false, default: false)
        let width = try fields.whole("n_embd")
        let fourfold = width.multipliedReportingOverflow(by: 4).partialValue
        let heads = try fields.whole("n_head").yaml
        return [
            ("family", "decoder"), ("num_layers", try fields.whole("n_layer").yaml), ("d_model", width.yaml),
            ("num_heads", heads), ("num_kv_heads", heads),
            ("d_ff", try fields.whole("n_inner", default: fourfold).yaml),
            ("context_length", try fields.whole("n_positions").yaml),
            ("vocab_size", try fields.whole("vocab_size").yaml), ("norm", "pre"), ("norm_type", "layer"),
            ("final_norm", "true"),
            ("norm_epsilon", try fields.number("layer_norm_epsilon", default: 1e-5).yaml),
            ("positions", "learned"), ("scale_embeddings", "false"),
            ("activation", try fields.choice("activation_function", activations, default: "gelu_new")),
            ("gated", "false"), ("biases", "true"),
            ("tie_embeddings", try fields.truth("tie_word_embeddings", default: true).yaml),
        ] + noneOfBERT + noSource
    }

    /// Llama (Touvron et al. 2023), as `LlamaConfig` has it.
    private static func llama(_ fields: PretrainedFields) throws -> [(String, String)] {
        try fields.require("attention_bias", false, default: false)
        try fields.require("mlp_bias", false, default: false)
        let heads = try fields.whole("num_attention_heads")
        let width = try fields.whole("hidden_size")
        if heads > 0 { try fields.require("head_dim", width / heads) }
        return [
            ("family", "decoder"), ("num_layers", try fields.whole("num_hidden_layers").yaml),
            ("d_model", width.yaml), ("num_heads", heads.yaml),
            ("num_kv_heads", try fields.whole("num_key_value_heads", default: heads).yaml),
            ("d_ff", try fields.whole("intermediate_size").yaml),
            ("context_length", try fields.whole("max_position_embeddings").yaml),
            ("vocab_size", try fields.whole("vocab_size").yaml), ("norm", "pre"), ("norm_type", "rms"),
            ("final_norm", "true"), ("norm_epsilon", try fields.number("rms_norm_eps", default: 1e-6).yaml),
            ("positions", "rotary"), ("rotary_base", try fields.rotaryBase().yaml),
            ("scale_embeddings", "false"),
            ("activation", try fields.choice("hidden_act", ["silu": "silu"], default: "silu")),
            ("gated", "true"), ("biases", "false"),
            ("tie_embeddings", try fields.truth("tie_word_embeddings", default: false).yaml),
        ] + noneOfBERT + noSource
    }

    /// BERT (Devlin et al. 2019) with its head for masked tokens, as `BertConfig` has it.
    private static func bert(_ fields: PretrainedFields) throws -> [(String, String)] {
        try fields.require("is_decoder", false, default: false)
        try fields.require("add_cross_attention", false, default: false)
        try fields.require("tie_word_embeddings", true, default: true)
        _ = try fields.choice(
            "position_embedding_type", ["absolute": "learned"], default: "absolute")
        let heads = try fields.whole("num_attention_heads").yaml
        return [
            ("family", "encoder"), ("num_layers", try fields.whole("num_hidden_layers").yaml),
            ("d_model", try fields.whole("hidden_size").yaml), ("num_heads", heads),
            ("num_kv_heads", heads), ("d_ff", try fields.whole("intermediate_size").yaml),
            ("context_length", try fields.whole("max_position_embeddings").yaml),
            ("vocab_size", try fields.whole("vocab_size").yaml),
            ("token_types", try fields.whole("type_vocab_size", default: 2).yaml),
            ("embedding_norm", "true"), ("head_transform", "true"), ("norm", "post"),
            ("norm_type", "layer"), ("final_norm", "false"),
            ("norm_epsilon", try fields.number("layer_norm_eps", default: 1e-12).yaml),
            ("positions", "learned"), ("scale_embeddings", "false"),
            ("activation", try fields.choice("hidden_act", activations, default: "gelu")),
            ("gated", "false"), ("biases", "true"), ("tie_embeddings", "true"),
        ] + noSource
    }
}
