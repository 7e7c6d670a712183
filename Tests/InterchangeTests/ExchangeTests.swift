import Configs
import Corpus
import Foundation
import Interchange
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Models in the files of Hugging Face's transformers.
@Suite struct ExchangeTests {
    private let folder = NSTemporaryDirectory() + "lockstep-exchange-\(UUID().uuidString)"

    private func withFolder(_ body: () throws -> Void) throws {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body()
    }

    private func save(_ model: FixtureModel, to folder: String) throws {
        try PretrainedModel.save(
            model.network.config, layout: model.network.layout, parameters: model.network.parameters,
            tokenizer: .bytes, to: folder)
    }

    private func load(_ folder: String, as model: FixtureModel) throws {
        try PretrainedModel.load(
            folder, config: model.network.config, layout: model.network.layout, into: model.network.parameters
        )
    }

    @Test(arguments: ["small", "untied-erf", "relu-wide", "ignored", "llama", "bert"])
    func whatWasSavedLoadsAsItWas(name: String) throws {
        try withFolder {
            let model = try FixtureModel(name, attention: .stored)
            let parameters = bits(model.network.parameters)
            try save(model, to: folder)
            Reductions.fill(model.network.parameters, with: 7)
            try load(folder, as: model)
            #expect(bits(model.network.parameters) == parameters)
        }
    }

    /// Names and shapes of `GPT2LMHeadModel`, and the numbers of a linear map in the order of its convolution.
    @Test func tensorsAreThoseOfGPT2() throws {
        try withFolder {
            let model = try FixtureModel("untied-erf", attention: .stored)
            try save(model, to: folder)
            let file = try SafetensorsFixture(contentsOf: URL(filePath: "\(folder)/model.safetensors"))
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
    }

    /// Names and shapes of `LlamaForCausalLM`, and queries, keys and values apart.
    @Test func tensorsAreThoseOfLlama() throws {
        try withFolder {
            let model = try FixtureModel("llama", attention: .stored)
            let config = model.network.config
            try save(model, to: folder)
            let file = try SafetensorsFixture(contentsOf: URL(filePath: "\(folder)/model.safetensors"))
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
    }

    /// Names and shapes of `BertForMaskedLM`, and queries, keys and values apart, their biases, too.
    @Test func tensorsAreThoseOfBERT() throws {
        try withFolder {
            let model = try FixtureModel("bert", attention: .stored)
            let config = model.network.config
            try save(model, to: folder)
            let file = try SafetensorsFixture(contentsOf: URL(filePath: "\(folder)/model.safetensors"))
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
    }

    /// The checkpoints that BERT was published in: norms have other names, and a second task has parameters, too.
    @Test func oldNamesOfBERTAreRead() throws {
        try withFolder {
            let model = try FixtureModel("bert", attention: .stored)
            let parameters = bits(model.network.parameters)
            try save(model, to: folder)
            try rewrite { tensors in
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
            Reductions.fill(model.network.parameters, with: 7)
            try load(folder, as: model)
            #expect(bits(model.network.parameters) == parameters)
        }
    }

    @Test(arguments: ["vaswani", "post-gated", "rms-biased", "encoder-plain", "encoder-pre"])
    func whatHuggingFaceHasNotIsRefused(name: String) throws {
        try withFolder {
            let model = try FixtureModel(name, attention: .stored)
            let error = #expect(throws: LockstepError.self) { try save(model, to: folder) }
            #expect(error?.description.contains("neither GPT-2") == true)
            #expect(!FileManager.default.fileExists(atPath: folder))
        }
    }

    /// A model that was saved without its head, and with the masks of old versions.
    @Test func bodiesAndOldMasksAreRead() throws {
        try withFolder {
            let model = try FixtureModel("small", attention: .stored)
            let parameters = bits(model.network.parameters)
            try save(model, to: folder)
            try rewrite { tensors in
                tensors = Dictionary(
                    uniqueKeysWithValues: tensors.map {
                        (String($0.key.dropFirst("transformer.".count)), $0.value)
                    })
                tensors["h.0.attn.bias"] = ([1, 1, 2, 2], [1, 0, 1, 1])
                tensors["h.1.attn.masked_bias"] = ([], [-1e4])
            }
            Reductions.fill(model.network.parameters, with: 7)
            try load(folder, as: model)
            #expect(bits(model.network.parameters) == parameters)
        }
    }

    @Test func otherTensorsAreRefusedByName() throws {
        try withFolder {
            let model = try FixtureModel("small", attention: .stored)
            func expect(_ words: String..., change: (inout [String: ([Int], [Float])]) -> Void) throws {
                try? FileManager.default.removeItem(atPath: folder)
                try save(model, to: folder)
                try rewrite(change)
                let error = #expect(throws: LockstepError.self) { try load(folder, as: model) }
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

    /// Replaces the tensors of the saved model.
    private func rewrite(_ change: (inout [String: ([Int], [Float])]) throws -> Void) throws {
        let url = URL(filePath: "\(folder)/model.safetensors")
        let file = try SafetensorsFixture(contentsOf: url)
        var tensors: [String: ([Int], [Float])] = [:]
        for name in file.tensors.keys { tensors[name] = (try file.shape(name), try file.floats(name)) }
        try change(&tensors)
        let ordered = tensors.sorted { $0.key < $1.key }
        var data = try TensorFile.header(ordered.map { ($0.key, $0.value.0) })
        for (_, (_, values)) in ordered { values.withUnsafeBytes { data.append(contentsOf: $0) } }
        try data.write(to: url)
    }

    private func bits(_ vector: Vector) -> [UInt32] { (0..<vector.count).map { vector[$0].bitPattern } }
}
