extension Architecture {
    /// Marian (Junczys-Dowmunt et al. 2018), as `MarianConfig` has it: the encoder–decoder of Vaswani et al. 2017.
    static func marian(_ fields: PretrainedFields) throws -> [(String, String)] {
        try fields.requireKnown(keysOfMarian.union(keysWithoutEffect))
        try fields.require("is_encoder_decoder", true, default: true)
        try fields.require("is_decoder", false, default: false)
        try fields.require("normalize_before", false, default: false)
        try fields.require("normalize_embedding", false, default: false)
        try fields.require("add_final_layer_norm", false, default: false)
        try fields.require("add_bias_logits", false, default: false)
        try fields.require("static_position_embeddings", true, default: true)
        try fields.require("extra_pos_embeddings", 0)
        let vocabulary = try fields.whole("vocab_size")
        try fields.require("decoder_vocab_size", vocabulary)
        let heads = try fields.shared("encoder_attention_heads", "decoder_attention_heads").yaml
        // Untied, transformers 5 keeps the embeddings of encoder and decoder apart, whatever this says.
        let isTied = try fields.truth("tie_word_embeddings", default: true)
        let isShared = try fields.truth("share_encoder_decoder_embeddings", default: true)
        if !isTied { try fields.require("share_encoder_decoder_embeddings", false, default: true) }
        // Positions are computed: sources and targets each have as many.
        let length = try fields.whole("max_position_embeddings").yaml
        return [
            ("family", "encoder-decoder"), ("num_layers", try fields.whole("decoder_layers").yaml),
            ("encoder_layers", try fields.whole("encoder_layers").yaml),
            ("d_model", try fields.whole("d_model").yaml), ("num_heads", heads), ("num_kv_heads", heads),
            ("d_ff", try fields.shared("encoder_ffn_dim", "decoder_ffn_dim").yaml),
            ("context_length", length), ("source_length", length), ("vocab_size", vocabulary.yaml),
            ("norm", "post"), ("norm_type", "layer"), ("final_norm", "false"),
            ("norm_epsilon", 1e-5.yaml), ("positions", "sinusoidal"),
            ("scale_embeddings", try fields.truth("scale_embedding", default: false).yaml),
            ("activation", try fields.choice("activation_function", activations, default: "gelu")),
            ("gated", "false"), ("biases", "true"),
            ("tie_embeddings", isTied.yaml), ("share_embeddings", isShared.yaml),
        ] + noneOfBERT
    }

    /// Those that decide the arithmetic.
    private static let keysOfMarian: Set = [
        "model_type", "is_encoder_decoder", "is_decoder", "normalize_before", "normalize_embedding",
        "add_final_layer_norm",
        "add_bias_logits", "static_position_embeddings", "extra_pos_embeddings", "vocab_size",
        "decoder_vocab_size", "encoder_attention_heads", "decoder_attention_heads", "max_position_embeddings",
        "encoder_layers", "decoder_layers", "d_model", "encoder_ffn_dim", "decoder_ffn_dim",
        "scale_embedding", "activation_function", "tie_word_embeddings", "share_encoder_decoder_embeddings",
    ]

    /// Those of `MarianConfig` and its forerunners that say how a model is trained, named or generated with.
    private static let keysWithoutEffect: Set = [
        "architectures", "_name_or_path", "name_or_path", "transformers_version", "torch_dtype", "dtype",
        "dropout", "attention_dropout", "activation_dropout", "classifier_dropout", "classif_dropout",
        "encoder_layerdrop", "decoder_layerdrop", "init_std", "gradient_checkpointing", "use_cache",
        // Another name of encoder_layers.
        "num_hidden_layers",
        "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id",
        "forced_eos_token_id", "force_bos_token_to_be_generated", "bad_words_ids", "num_beams", "max_length",
        "num_labels", "_num_labels", "id2label", "label2id", "problem_type", "task_specific_params", "prefix",
        "output_attentions", "output_hidden_states", "output_past", "return_dict", "tokenizer_class",
        "sep_token_id", "do_sample", "early_stopping", "length_penalty", "min_length", "no_repeat_ngram_size",
        "repetition_penalty",
    ]
}
