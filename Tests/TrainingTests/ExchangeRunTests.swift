import Configs
import Foundation
import TestSupport
import Testing

/// Models on their way from a run to another one, in the files of Hugging Face.
@Suite(.serialized) struct ExchangeRunTests {
    private func lockstep(_ arguments: String...) throws -> CommandResult {
        try TestSupport.run(builtProduct("lockstep"), arguments)
    }

    private func json(_ path: String) throws -> [String: Any] {
        try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path))) as? [String: Any])
    }

    @Test func aRunIsExportedImportedAndGoneOnWith() throws {
        let experiment = try Experiment()
        #expect(try experiment.train("run", ranks: 1).exitCode == 0)
        let model = "\(experiment.folder)/model"
        let exported = try lockstep("export", experiment.run("run").path, model)
        #expect(exported.exitCode == 0, "\(exported.standardError)")
        let config = try json("\(model)/config.json")
        #expect(config["n_embd"] as? Int == 36 && config["n_inner"] as? Int == 52)
        #expect(config["model_type"] as? String == "gpt2")
        let tokenizer = try json("\(model)/tokenizer.json")["model"] as? [String: Any]
        let vocabulary = try #require(tokenizer?["vocab"] as? [String: Int])
        #expect(vocabulary.count == 256 && vocabulary["a"] == 97 && vocabulary["Ġ"] == 32)
        #expect(vocabulary["Ċ"] == 10 && vocabulary["Ń"] == 0xAD && vocabulary["ÿ"] == 255)

        let again = try lockstep("export", experiment.run("run").path, model)
        #expect(again.exitCode == Configs.ExitStatus.cannotCreate.rawValue)
        #expect(again.standardError.contains("already holds a model"))

        // A rate that no number feels: what comes back is what went.
        let yaml = "\(experiment.folder)/tuned.yaml"
        let imported = try lockstep("import", model, "--out", yaml)
        #expect(imported.exitCode == 0, "\(imported.standardError)")
        let result = try mpirun(
            ranks: 2, program: "lockstep",
            arguments: [
                "train", yaml, "--out", "\(experiment.folder)/tuned",
                "data.path=\(experiment.folder)/corpus.txt",
                "train.steps=1", "train.schedule.warmup_steps=0", "train.optimizer.learning_rate=1e-30",
                "train.optimizer.weight_decay=0",
            ])
        #expect(result.exitCode == 0, "\(result.standardError)")
        #expect(try lockstep("export", "\(experiment.folder)/tuned", "\(model)-back").exitCode == 0)
        let (before, after) = (
            try SafetensorsFixture(contentsOf: URL(filePath: "\(model)/model.safetensors")),
            try SafetensorsFixture(contentsOf: URL(filePath: "\(model)-back/model.safetensors"))
        )
        #expect(before.tensors.keys.sorted() == after.tensors.keys.sorted())
        for name in before.tensors.keys {
            let difference = zip(try before.floats(name), try after.floats(name)).map { abs($0 - $1) }.max()
            #expect(difference ?? 1 < 1e-29, "\(name)")
        }
    }

    /// Each key of a shape that contradicts the model is named with both values, before and at the start of training.
    @Test func whatContradictsTheModelIsRefused() throws {
        let experiment = try Experiment()
        #expect(try experiment.train("run", ranks: 1).exitCode == 0)
        let model = "\(experiment.folder)/model"
        #expect(try lockstep("export", experiment.run("run").path, model).exitCode == 0)
        let whole = try experiment.train("other", ranks: 1, "model.from=\(model)", "model.d_ff=56")
        #expect(whole.exitCode == Configs.ExitStatus.badConfiguration.rawValue)
        #expect(whole.standardError.contains("model.d_ff is 56"), "\(whole.standardError)")
        #expect(whole.standardError.contains("config.json has 52"), "\(whole.standardError)")
        #expect(!experiment.run("other").exists)

        func refusal(_ edit: (inout [String: Any]) -> Void) throws -> CommandResult {
            var config = try json("\(model)/config.json")
            edit(&config)
            try? FileManager.default.removeItem(atPath: "\(model)-edited")
            try FileManager.default.copyItem(atPath: model, toPath: "\(model)-edited")
            try JSONSerialization.data(withJSONObject: config)
                .write(to: URL(filePath: "\(model)-edited/config.json"))
            return try lockstep("import", "\(model)-edited", "--out", "\(experiment.folder)/new.yaml")
        }
        let cases: [((inout [String: Any]) -> Void, Int32, [String])] = [
            ({ $0["model_type"] = "t5" }, 78, ["model_type is t5", "supports only gpt2, llama, bert"]),
            ({ $0["n_embd"] = nil }, 78, ["n_embd must be a whole number", "not there"]),
            ({ $0["n_layer"] = "two" }, 78, ["n_layer must be a whole number", "two"]),
            ({ $0["activation_function"] = "elu" }, 78, ["activation_function", "gelu_new", "elu"]),
            ({ $0["layer_norm_epsilon"] = "small" }, 78, ["layer_norm_epsilon must be a number", "small"]),
            ({ $0["scale_attn_weights"] = false }, 78, ["scale_attn_weights must be true"]),
            ({ $0["n_head"] = 5 }, 78, ["36 is not divisible", "5"]),
            ({ $0["n_layer"] = 1 }, 65, ["transformer.h.1", "has, which the model has not"]),
            ({ $0["n_layer"] = 3 }, 65, ["misses transformer.h.2.ln_1.weight", "more"]),
            ({ $0["n_positions"] = 20 }, 65, ["transformer.wpe.weight", "[21, 36]", "[20, 36]"]),
        ]
        for (edit, code, words) in cases {
            let result = try refusal(edit)
            #expect(result.exitCode == code, "\(result.standardError)")
            for word in words { #expect(result.standardError.contains(word), "\(result.standardError)") }
        }
    }
}
