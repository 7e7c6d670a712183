import Configs
import Foundation
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Encoder–decoders as Hugging Face's `MarianMTModel`.
@Suite struct MarianTests {
    private let folder = ModelFolder()

    /// Names and shapes of its tensors, queries, keys and values apart, and its bias of zeros.
    @Test func tensorsAreThoseOfMarian() throws {
        let model = try FixtureModel("marian", attention: .stored)
        let config = model.network.config
        try folder.save(model)
        let file = try folder.tensors()
        let (h, v) = (config.dModel, config.vocabSize)
        for (name, shape) in [
            ("model.shared.weight", [v, h]), ("final_logits_bias", [1, v]),
            ("model.encoder.layers.2.fc1.weight", [config.dFF, h]),
            ("model.encoder.layers.0.final_layer_norm.bias", [h]),
            ("model.decoder.layers.1.encoder_attn.out_proj.weight", [h, h]),
            ("model.decoder.layers.1.encoder_attn_layer_norm.weight", [h]),
        ] {
            #expect(try file.shape(name) == shape, "\(name)")
        }
        #expect(try file.floats("final_logits_bias").allSatisfy { $0 == 0 })
        for kind in ["weight", "bias"] {
            let own = try ["q", "k", "v"].flatMap {
                try file.floats("model.decoder.layers.1.self_attn.\($0)_proj.\(kind)")
            }
            #expect(try own == model.fixture.parameter("decoder.layers.1.attention.qkv.\(kind)"))
            let toSource = try ["k", "v"].flatMap {
                try file.floats("model.decoder.layers.0.encoder_attn.\($0)_proj.\(kind)")
            }
            #expect(
                try toSource == model.fixture.parameter("decoder.layers.0.cross_attention.key_value.\(kind)"))
        }
        #expect(file.tensors.count == 2 + 16 * config.encoderLayers + 26 * config.numLayers)
    }

    /// What begins and ends texts, for `generate`: the newline of the byte tokenizer, which its tokenizer puts behind sources.
    @Test func markersAreTheNewline() throws {
        try folder.save(FixtureModel("marian", attention: .stored))
        let config = try #require(try folder.json("config.json"))
        let generation = try #require(try folder.json("generation_config.json"))
        for json in [config, generation] {
            for key in ["decoder_start_token_id", "eos_token_id", "pad_token_id"] {
                #expect(json[key] as? Int == 10, "\(key)")
            }
            #expect(json["forced_eos_token_id"] is NSNull)
        }
        #expect(generation["max_length"] as? Int == 19)
        #expect(config["max_position_embeddings"] as? Int == 27 && config["scale_embedding"] as? Bool == true)
        #expect(try folder.json("tokenizer_config.json")?["model_max_length"] as? Int == 27)
        let tokenizer = try #require(try folder.json("tokenizer.json"))
        let processor = try #require(tokenizer["post_processor"] as? [String: Any])
        let special = try #require(processor["special_tokens"] as? [String: [String: Any]])
        #expect(special["Ċ"]?["ids"] as? [Int] == [10])
        #expect((processor["single"] as? [Any])?.count == 2)
    }

    /// Checkpoints of old versions have positions and shared embeddings as tensors of their own, and a body has no bias.
    @Test func oldTensorsAreRead() throws {
        let model = try FixtureModel("marian", attention: .stored)
        let config = model.network.config
        let parameters = bits(model.network.parameters)
        let table = try AlignedBuffer<Float>(count: 40 * config.dModel)
        Embedding.fillSinusoids(table.vector.matrix(rows: 40, columns: config.dModel))
        let positions = (0..<table.count).map { table.vector[$0] }
        func addOldTensors(_ tensors: inout [String: ([Int], [Float])]) {
            for side in ["encoder", "decoder"] {
                tensors["model.\(side).embed_positions.weight"] = ([40, config.dModel], positions)
                tensors["model.\(side).embed_tokens.weight"] = tensors["model.shared.weight"]
            }
            tensors["lm_head.weight"] = tensors["model.shared.weight"]
        }
        try folder.save(model)
        try folder.rewrite(addOldTensors)
        #expect(try folder.gives(model, parameters))
        try folder.rewrite { tensors in
            (tensors["final_logits_bias"], tensors["lm_head.weight"]) = (nil, nil)
            tensors = Dictionary(
                uniqueKeysWithValues: tensors.map { (String($0.key.dropFirst("model.".count)), $0.value) })
        }
        #expect(try folder.gives(model, parameters))
    }

    @Test func otherTensorsAreRefusedByName() throws {
        let model = try FixtureModel("marian", attention: .stored)
        func expect(_ words: String..., change: (inout [String: ([Int], [Float])]) -> Void) throws {
            folder.remove()
            try folder.save(model)
            try folder.rewrite(change)
            let error = #expect(throws: LockstepError.self) { try folder.load(as: model) }
            #expect(error?.status == .badData)
            for word in words { #expect(error?.description.contains(word) == true, "\(error!)") }
        }
        try expect("final_logits_bias", "is not zero") { $0["final_logits_bias"]!.1[52] = 1e-3 }
        try expect("final_logits_bias", "is not zero") { $0["final_logits_bias"]!.1[0] = .nan }
        try expect("final_logits_bias has the shape [53]; expected [1, 53]") {
            $0["final_logits_bias"]!.0 = [53]
        }
        try expect("model.decoder.embed_positions.weight", "other positions") {
            $0["model.decoder.embed_positions.weight"] = ([1, 24], [Float](repeating: 0, count: 24))
        }
        try expect("model.encoder.embed_positions.weight", "shape") {
            $0["model.encoder.embed_positions.weight"] = ([], [0])
        }
        try expect("lm_head.weight differs from model.shared.weight") { tensors in
            tensors["lm_head.weight"] = tensors["model.shared.weight"]
            tensors["lm_head.weight"]!.1[3] += 1
        }
        try expect("misses model.decoder.layers.1.encoder_attn.v_proj.bias") {
            $0["model.decoder.layers.1.encoder_attn.v_proj.bias"] = nil
        }
        try expect("has, which the model has not, model.decoder.layers.2.fc1.bias") {
            $0["model.decoder.layers.2.fc1.bias"] = ([1], [0])
        }
        try expect("model.shared.weight", "shape") { $0["model.shared.weight"]!.0 = [24, 53] }
    }

    /// Other encoder–decoders are refused with all that is different.
    @Test func whatMarianHasNotIsNamed() throws {
        for (name, words) in [
            (
                "seq2seq-pre",
                ["norm: post where this has pre", "positions: sinusoidal where this has learned"]
            ),
            ("seq2seq-gated", ["norm_type: layer where this has rms", "gated: false", "num_kv_heads: 4"]),
        ] {
            let model = try FixtureModel(name, attention: .stored)
            let error = #expect(throws: LockstepError.self) { try folder.save(model) }
            #expect(error?.status == .badConfiguration)
            for word in words { #expect(error?.description.contains(word) == true, "\(error!)") }
            #expect(!folder.exists)
        }
    }
}
