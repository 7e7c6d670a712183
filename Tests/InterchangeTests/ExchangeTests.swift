import Configs
import Foundation
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Models in the files of Hugging Face's transformers.
@Suite struct ExchangeTests {
    private let folder = ModelFolder()

    @Test(arguments: ["small", "untied-erf", "relu-wide", "ignored", "llama", "bert", "marian"])
    func whatWasSavedLoadsAsItWas(name: String) throws {
        let model = try FixtureModel(name, attention: .stored)
        let parameters = bits(model.network.parameters)
        try folder.save(model)
        #expect(try folder.gives(model, parameters))
    }

    /// Names and shapes of `GPT2LMHeadModel`, and the numbers of a linear map in the order of its convolution.
    @Test func tensorsAreThoseOfGPT2() throws {
        let model = try FixtureModel("untied-erf", attention: .stored)
        try folder.save(model)
        let file = try folder.tensors()
        let shapes = file.tensors.mapValues(\.shape)
        #expect(
            shapes == [
                "transformer.wte.weight": [67, 20], "transformer.wpe.weight": [12, 20],
                "transformer.h.0.ln_1.weight": [20], "transformer.h.0.ln_1.bias": [20],
                "transformer.h.0.attn.c_attn.weight": [20, 60], "transformer.h.0.attn.c_attn.bias": [60],
                "transformer.h.0.attn.c_proj.weight": [20, 20], "transformer.h.0.attn.c_proj.bias": [20],
                "transformer.h.0.ln_2.weight": [20], "transformer.h.0.ln_2.bias": [20],
                "transformer.h.0.mlp.c_fc.weight": [20, 52], "transformer.h.0.mlp.c_fc.bias": [52],
                "transformer.h.0.mlp.c_proj.weight": [52, 20], "transformer.h.0.mlp.c_proj.bias": [20],
                "transformer.ln_f.weight": [20], "transformer.ln_f.bias": [20],
                "lm_head.weight": [67, 20],
            ])
        let up = try model.fixture.parameter("layers.0.mlp.up.weight")
        let fc = try file.floats("transformer.h.0.mlp.c_fc.weight")
        for (row, column) in [(0, 0), (3, 17), (51, 19)] {
            #expect(fc[column * 52 + row] == up[row * 20 + column])
        }
    }

    /// Names and shapes of `LlamaForCausalLM`, and queries, keys and values apart.
    @Test func tensorsAreThoseOfLlama() throws {
        let model = try FixtureModel("llama", attention: .stored)
        let config = model.network.config
        try folder.save(model)
        let file = try folder.tensors()
        let (h, f) = (config.dModel, config.dFF)
        let c = h / config.numHeads * config.numKVHeads
        let joint = try model.fixture.parameter("layers.0.attention.qkv.weight")
        let layer = "model.layers.0"
        #expect(try file.shape("\(layer).self_attn.k_proj.weight") == [c, h])
        #expect(
            try file.floats("\(layer).self_attn.q_proj.weight")
                + file.floats("\(layer).self_attn.k_proj.weight")
                + file.floats("\(layer).self_attn.v_proj.weight") == joint)
        #expect(try file.shape("\(layer).mlp.gate_proj.weight") == [f, h])
        #expect(
            try file.floats("\(layer).mlp.gate_proj.weight") + file.floats("\(layer).mlp.up_proj.weight")
                == model.fixture.parameter("layers.0.mlp.gate_up.weight"))
        #expect(try file.shape("\(layer).input_layernorm.weight") == [h])
    }

    /// Names and shapes of `BertForMaskedLM`, and queries, keys and values apart, their biases, too.
    @Test func tensorsAreThoseOfBERT() throws {
        let model = try FixtureModel("bert", attention: .stored)
        let config = model.network.config
        try folder.save(model)
        let file = try folder.tensors()
        let (h, v) = (config.dModel, config.vocabSize)
        let layer = "bert.encoder.layer.0"
        for (name, shape) in [
            ("bert.embeddings.token_type_embeddings.weight", [config.tokenTypes, h]),
            ("bert.embeddings.LayerNorm.bias", [h]), ("cls.predictions.bias", [v]),
            ("cls.predictions.transform.LayerNorm.weight", [h]),
            ("\(layer).attention.output.LayerNorm.weight", [h]),
            ("\(layer).intermediate.dense.weight", [config.dFF, h]),
        ] {
            #expect(try file.shape(name) == shape, "\(name)")
        }
        for kind in ["weight", "bias"] {
            let parts = try ["query", "key", "value"].flatMap {
                try file.floats("\(layer).attention.self.\($0).\(kind)")
            }
            #expect(try parts == model.fixture.parameter("layers.0.attention.qkv.\(kind)"))
        }
        #expect(file.tensors.count == 5 + 16 * config.numLayers + 5)
    }

    /// The checkpoints that BERT was published in: norms have other names, and a second task has parameters, too.
    @Test func oldNamesOfBERTAreRead() throws {
        let model = try FixtureModel("bert", attention: .stored)
        let parameters = bits(model.network.parameters)
        try folder.save(model)
        try folder.rewrite { tensors in
            tensors = Dictionary(
                uniqueKeysWithValues: tensors.map { name, value in
                    let old = name.replacingOccurrences(of: "LayerNorm.weight", with: "LayerNorm.gamma")
                        .replacingOccurrences(of: "LayerNorm.bias", with: "LayerNorm.beta")
                    return (old, value)
                })
            tensors["bert.pooler.dense.bias"] = ([2], [1, 2])
            tensors["cls.seq_relationship.bias"] = ([2], [1, 2])
            tensors["cls.predictions.decoder.bias"] = ([1], [1])
        }
        #expect(try folder.gives(model, parameters))
    }

    @Test(arguments: ["vaswani", "post-gated", "rms-biased", "encoder-plain", "encoder-pre"])
    func whatHuggingFaceHasNotIsRefused(name: String) throws {
        let model = try FixtureModel(name, attention: .stored)
        let error = #expect(throws: LockstepError.self) { try folder.save(model) }
        #expect(error?.description.contains("neither GPT-2") == true)
        #expect(!folder.exists)
    }

    /// A model that was saved without its head, and with the masks of old versions.
    @Test func bodiesAndOldMasksAreRead() throws {
        let model = try FixtureModel("small", attention: .stored)
        let parameters = bits(model.network.parameters)
        try folder.save(model)
        try folder.rewrite { tensors in
            tensors = Dictionary(
                uniqueKeysWithValues: tensors.map {
                    (String($0.key.dropFirst("transformer.".count)), $0.value)
                })
            tensors["h.0.attn.bias"] = ([1, 1, 2, 2], [1, 0, 1, 1])
            tensors["h.1.attn.masked_bias"] = ([], [-1e4])
        }
        #expect(try folder.gives(model, parameters))
    }

    @Test func otherTensorsAreRefusedByName() throws {
        let model = try FixtureModel("small", attention: .stored)
        func expect(_ words: String..., change: (inout [String: ([Int], [Float])]) -> Void) throws {
            folder.remove()
            try folder.save(model)
            try folder.rewrite(change)
            let error = #expect(throws: LockstepError.self) { try folder.load(as: model) }
            #expect(error?.status == .badData)
            for word in words { #expect(error?.description.contains(word) == true, "\(error!)") }
        }
        try expect("misses transformer.h.1.mlp.c_fc.bias", "model.safetensors") {
            $0["transformer.h.1.mlp.c_fc.bias"] = nil
        }
        try expect("lm_head.weight") { $0["lm_head.weight"] = ([1], [0]) }
        try expect("transformer.wpe.weight has the shape [24, 19]; expected [19, 24]") {
            $0["transformer.wpe.weight"]!.0 = [24, 19]
        }
        try expect("transformer.h.0.attn.c_proj.weight", "finite") {
            $0["transformer.h.0.attn.c_proj.weight"]!.1[5] = .infinity
        }
    }
}
