import Configs
import Foundation
import TestSupport
import Testing

/// Encoder–decoders on their way from a run to another one, in the files of Hugging Face.
@Suite(.serialized) struct MarianRunTests {
    private let experiment: Experiment
    private var model: String { "\(experiment.folder)/model" }

    private static let settings = [
        "model.family=encoder-decoder", "model.norm=post", "model.positions=sinusoidal",
        "model.activation=relu", "model.encoder_layers=1", "model.source_length=17", "model.context_length=9",
        "data.task=copy", "data.path=''", "data.generated.max_length=6", "data.generated.samples=200",
    ]

    init() throws {
        experiment = try Experiment()
        let result = try mpirun(
            ranks: 1, program: "lockstep", arguments: try experiment.arguments("run", Self.settings),
            timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let exported = try lockstep("export", experiment.run("run").path, model)
        try #require(exported.exitCode == 0, "\(exported.standardError)")
    }

    private func lockstep(_ arguments: String...) throws -> CommandResult {
        try TestSupport.run(builtProduct("lockstep"), arguments)
    }

    private func json(_ path: String) throws -> [String: Any] {
        try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path))) as? [String: Any])
    }

    /// As it comes: with shorter lengths than the positions of the file.
    @Test(arguments: [[], ["model.context_length=9", "model.source_length=12"]])
    func aRunIsExportedImportedAndGoneOnWith(lengths: [String]) throws {
        let yaml = "\(experiment.folder)/tuned.yaml"
        let imported = try lockstep("import", model, "--out", yaml)
        #expect(imported.exitCode == 0, "\(imported.standardError)")
        #expect(!imported.standardError.contains("warning"), "\(imported.standardError)")
        let pairs = try experiment.write(
            String(repeating: "abc\tcba\nxy\tyx\n", count: 40).utf8, to: "pairs.tsv")
        let result = try mpirun(
            ranks: 2, program: "lockstep",
            arguments: [
                "train", yaml, "--out", "\(experiment.folder)/tuned", "data.path=\(pairs)",
                "train.steps=1", "train.schedule.warmup_steps=0", "train.optimizer.learning_rate=1e-30",
                "train.optimizer.weight_decay=0",
            ] + lengths)
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
        let positions = try json("\(model)-back/config.json")["max_position_embeddings"] as? Int
        #expect(positions == (lengths.isEmpty ? 17 : 12))
    }

    @Test func whatContradictsTheModelIsRefused() throws {
        let longer = try mpirun(
            ranks: 1, program: "lockstep",
            arguments: try experiment.arguments(
                "other", Self.settings + ["model.from=\(model)", "model.source_length=18"]))
        #expect(longer.exitCode == Configs.ExitStatus.badConfiguration.rawValue)
        #expect(longer.standardError.contains("model.source_length is 18"), "\(longer.standardError)")
        #expect(longer.standardError.contains("config.json has 17; leave the key out or lower it"))

        let cases: [((inout [String: Any]) -> Void, Int32, [String])] = [
            (
                { $0["decoder_ffn_dim"] = 56 }, 78,
                ["decoder_ffn_dim must be 52, as encoder_ffn_dim is", "56"]
            ),
            ({ $0["encoder_attention_heads"] = 4 }, 78, ["decoder_attention_heads must be 4, as", "3"]),
            ({ $0["decoder_vocab_size"] = 300 }, 78, ["decoder_vocab_size must be 257", "300"]),
            ({ $0["add_final_layer_norm"] = true }, 78, ["add_final_layer_norm must be false"]),
            ({ $0["is_encoder_decoder"] = false }, 78, ["is_encoder_decoder must be true"]),
            ({ $0["activation_function"] = "elu" }, 78, ["activation_function", "swish", "elu"]),
            (
                { $0["tie_word_embeddings"] = false }, 78,
                ["share_encoder_decoder_embeddings must be false", "true"]
            ),
            ({ $0["encoder_layers"] = nil }, 78, ["encoder_layers must be a whole number", "not there"]),
            ({ $0["quantization_config"] = [:] }, 78, ["quantization_config", "does not know"]),
            ({ $0["d_model"] = 35 }, 78, ["35 is not divisible", "3"]),
            ({ $0["encoder_layers"] = 2 }, 65, ["misses model.encoder.layers.1", "more"]),
            ({ $0["decoder_layers"] = 1 }, 65, ["model.decoder.layers.1", "has, which the model has not"]),
            (
                { $0["share_encoder_decoder_embeddings"] = false }, 65,
                [
                    "misses model.encoder.embed_tokens.weight, model.decoder.embed_tokens.weight",
                    "model.shared",
                ]
            ),
        ]
        for (edit, code, words) in cases {
            let result = try importEdited(edit)
            #expect(result.exitCode == code, "\(result.standardError)")
            for word in words { #expect(result.standardError.contains(word), "\(result.standardError)") }
        }
    }

    /// Targets that begin and end with other tokens than here have to be learnt anew, which is said.
    @Test func otherMarkersAreSaid() throws {
        let result = try importEdited { ($0["decoder_start_token_id"], $0["eos_token_id"]) = (256, 0) }
        #expect(result.exitCode == 0)
        #expect(
            result.standardError.contains("begin with token 256 and end with token 0"),
            "\(result.standardError)")
    }

    private func importEdited(_ edit: (inout [String: Any]) -> Void) throws -> CommandResult {
        var config = try json("\(model)/config.json")
        edit(&config)
        try? FileManager.default.removeItem(atPath: "\(model)-edited")
        try FileManager.default.copyItem(atPath: model, toPath: "\(model)-edited")
        try JSONSerialization.data(withJSONObject: config)
            .write(to: URL(filePath: "\(model)-edited/config.json"))
        return try lockstep("import", "\(model)-edited", "--out", "\(experiment.folder)/new.yaml")
    }
}
