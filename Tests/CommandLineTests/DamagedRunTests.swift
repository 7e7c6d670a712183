import Foundation
import TestSupport
import Testing

/// What `verify`, `evaluate` and `generate` say of a run whose files are missing or damaged.
@Suite(.serialized) struct DamagedRunTests {
    /// Something done to a run, and the answers of the commands that it concerns.
    struct Damage: CustomTestStringConvertible {
        let testDescription: String
        let commands: [String]
        let answer: Answer
        /// Gets the path of the run.
        let inflict: @Sendable (String) throws -> Void

        init(
            _ name: String, of commands: [String] = ["evaluate", "generate"], _ answer: Answer,
            _ inflict: @escaping @Sendable (String) throws -> Void
        ) {
            (testDescription, self.commands, self.answer, self.inflict) = (name, commands, answer, inflict)
        }
    }

    private static let model = "checkpoints/step-6/model.safetensors"
    private static let state = "checkpoints/step-6/state.json"
    private static let latest = "checkpoints/latest"
    private static let manifest = "checkpoints/step-6/manifest.json"

    private static let ofCheckpoints = [
        Damage("no checkpoint", Answer(66, latest, "there is no checkpoint")) {
            try FileManager.default.removeItem(atPath: "\($0)/checkpoints")
        },
        Damage("a truncated model", Answer(65, model, "expected", "train again")) {
            try change("\($0)/\(model)") { $0.removeLast(4321) }
        },
        Damage("an empty model", Answer(65, model, "0 bytes")) { try put("", "\($0)/\(model)") },
        Damage("a damaged header", Answer(65, model, "SHA-256")) {
            try change("\($0)/\(model)") { $0[20] = 255 }
        },
        Damage("no model", Answer(66, model, "No such file", "train again")) {
            try FileManager.default.removeItem(atPath: "\($0)/\(model)")
        },
        Damage("a folder as model", Answer(65, model, "expected a file")) {
            try FileManager.default.removeItem(atPath: "\($0)/\(model)")
            try FileManager.default.createDirectory(
                atPath: "\($0)/\(model)", withIntermediateDirectories: true)
        },
        Damage("garbage as state", Answer(65, state, "1 bytes, expected")) { try put("{", "\($0)/\(state)") },
        Damage("a damaged optimizer", Answer(65, "optimizer-0-of-1.safetensors", "SHA-256")) {
            try change("\($0)/checkpoints/step-6/optimizer-0-of-1.safetensors") { $0[5000] ^= 1 }
        },
        Damage("no manifest", Answer(66, manifest, "No such file")) {
            try FileManager.default.removeItem(atPath: "\($0)/\(manifest)")
        },
        Damage("garbage as manifest", Answer(65, manifest, "not the JSON")) {
            try put(garbage, "\($0)/\(manifest)")
        },
        Damage("an edited manifest", Answer(65, manifest, "SHA-256")) {
            try edit("\($0)/\(manifest)", "\"step\" : 6", "\"step\" : 7")
        },
        Damage("a model of other shapes", Answer(65, state, "parameters")) {
            try edit("\($0)/config.yaml", "d_model: 36", "d_model: 72")
        },
        Damage("a model beyond any memory", Answer(78, "not enough memory", "config.yaml")) {
            try edit("\($0)/config.yaml", "vocab_size: 257", "vocab_size: 2000000000")
            try edit("\($0)/config.yaml", "d_model: 36", "d_model: 9000")
        },
        Damage("no configuration", Answer(66, "config.yaml", "No such file")) {
            try FileManager.default.removeItem(atPath: "\($0)/config.yaml")
        },
    ]

    private static let ofData = [
        Damage("no shard", of: ["evaluate"], Answer(66, "data/validation.bin", "train again")) {
            try FileManager.default.removeItem(atPath: "\($0)/data/validation.bin")
        },
        Damage("a truncated shard", of: ["evaluate"], Answer(65, "data/validation.bin, offset 1100")) {
            try change("\($0)/data/validation.bin") { $0.removeSubrange(1100...) }
        },
        Damage("a token of no vocabulary", of: ["evaluate"], Answer(65, "offset 1100", "id 65535")) {
            try change("\($0)/data/validation.bin") { $0.replaceSubrange(1100..<1102, with: [255, 255]) }
        },
    ]

    private static let ofRecords = [
        Damage("no estimate", of: ["verify"], Answer(66, "estimate.json", "No such file")) {
            try FileManager.default.removeItem(atPath: "\($0)/estimate.json")
        },
        Damage("garbage as estimate", of: ["verify"], Answer(65, "estimate.json", "JSON")) {
            try put(garbage, "\($0)/estimate.json")
        },
        Damage(
            "another number of ranks", of: ["verify"], Answer(65, "ledger.jsonl", "1 of 1000000000000 ranks")
        ) {
            try edit("\($0)/estimate.json", #""ranks" : 1"#, #""ranks" : 1000000000000"#)
        },
        Damage("no ledger", of: ["verify"], Answer(66, "ledger.jsonl", "No such file")) {
            try FileManager.default.removeItem(atPath: "\($0)/ledger.jsonl")
        },
        Damage("an empty ledger", of: ["verify"], Answer(65, "ledger.jsonl", "0 of 1 ranks")) {
            try put("", "\($0)/ledger.jsonl")
        },
        Damage("garbage as ledger", of: ["verify"], Answer(65, "ledger.jsonl, line 1")) {
            try put(garbage + "\n", "\($0)/ledger.jsonl")
        },
        Damage("a negative rank", of: ["verify"], Answer(65, "ledger.jsonl, line 1", "'rank'", "-1")) {
            try edit("\($0)/ledger.jsonl", #""rank":0"#, #""rank":-1"#)
        },
        Damage("a line without end", of: ["verify"], Answer(65, "ledger.jsonl, line 1", "longer than")) {
            try put(String(repeating: "x", count: 300_000), "\($0)/ledger.jsonl")
        },
        Damage(
            "nothing of a run", of: ["verify", "evaluate", "generate"], Answer(66, "no run", "lockstep train")
        ) {
            try FileManager.default.removeItem(atPath: $0)
            try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: true)
        },
    ]

    private static let trained = Result {
        let experiment = try Experiment()
        let result = try lockstep(experiment.arguments("good", []))
        try #require(result.exitCode == 0, "\(result.standardError)")
        return Trained(folder: experiment)
    }

    /// Never changed after it was made.
    private struct Trained: @unchecked Sendable { let folder: Experiment }

    @Test(arguments: ofCheckpoints + ofData + ofRecords) func isNamed(_ damage: Damage) throws {
        try withDamagedRun(damage) { run in
            for command in damage.commands {
                damage.answer.check(try lockstep(arguments(command, run)))
            }
        }
    }

    @Test(arguments: [ofCheckpoints[3], ofData[1]]) func isNamedByOneRank(_ damage: Damage) throws {
        try withDamagedRun(damage) { run in
            damage.answer.check(try lockstep(ranks: 4, ["evaluate", run]))
        }
    }

    /// The pointer is for people; without it the newest checkpoint is found all the same.
    @Test(arguments: ["../../../good.yaml", "step-999", garbage]) func aDamagedPointerIsNoted(text: String)
        throws
    {
        let damage = Damage("", Answer(0)) { try put(text, "\($0)/\(Self.latest)") }
        try withDamagedRun(damage) { run in
            let result = try lockstep(["evaluate", run])
            #expect(result.exitCode == 0 && result.standardOutput.contains("step 6"))
            #expect(result.standardError.contains("checkpoints/latest: expected the name of a checkpoint"))
        }
    }

    /// What a crash leaves is no damage.
    @Test func aLastLineCutShortIsNoted() throws {
        let damage = Damage("", Answer(0)) { try change("\($0)/ledger.jsonl") { $0.removeLast(50) } }
        try withDamagedRun(damage) { run in
            let result = try lockstep(["verify", run, "--tolerance", "memory.peak=none"])
            #expect(result.exitCode == 0, "\(result.standardError)")
            #expect(result.standardOutput.contains("line 6: the last line is incomplete"))
        }
    }

    /// Prompts and numbers for `generate`, and tolerances for `verify`, of a good run.
    @Test(arguments: [
        (["generate", "RUN", "--prompt", ""], Answer(64, "--prompt", "at least one character")),
        (["generate", "RUN"], Answer(64, "--prompt")),
        (
            ["generate", "RUN", "--prompt", "a", "--temperature", "-1"],
            Answer(64, "--temperature", "0 or more", "-1")
        ),
        (["generate", "RUN", "--prompt", "a", "--temperature", "nan"], Answer(64, "--temperature", "nan")),
        (["generate", "RUN", "--prompt", "a", "--top-k", "0"], Answer(64, "--top-k", "at least 1")),
        (["generate", "RUN", "--prompt", "a", "--top-p", "1.5"], Answer(64, "--top-p", "at most 1", "1.5")),
        (["generate", "RUN", "--prompt", "a", "--json"], Answer(64, "--json goes with --verify")),
        (["generate", "RUN", "--prompt", "a", "--verify", "--stop", "b"], Answer(64, "--verify", "--stop")),
        (
            ["generate", "RUN", "--prompt", "a", "--verify", "--tokens", "100"],
            Answer(64, "--verify", "lower --tokens")
        ),
        (["generate", "RUN", "--prompt", "a", "--beams", "0"], Answer(64, "--beams", "from 1", "0")),
        (["generate", "RUN", "--prompt", "a", "--stop", ""], Answer(64, "--stop", "at least one character")),
        (
            ["generate", "RUN", "--prompt", "a", "--beams", "2", "--top-k", "3"],
            Answer(64, "--beams", "without --temperature")
        ),
        (
            ["generate", "RUN", "--prompt", String(repeating: "in the ", count: 4)],
            Answer(64, "28 tokens", "context has 21", "--truncate")
        ),
        (
            ["generate", "RUN", "--prompt", "a", "--beams", "2", "--tokens", "21"],
            Answer(64, "--beams", "context of 21", "22", "lower --tokens")
        ),
        (["export", "RUN", "RUN/model", "--step", "5"], Answer(66, "no checkpoint of step 5", "6")),
        (["export", "RUN", "RUN/data/train.bin/model"], Answer(73, "train.bin/model")),
        (["import", "RUN", "--out", "RUN/new.yaml"], Answer(66, "config.json", "No such file")),
        (["import", "RUN", "--out", "CONFIG"], Answer(73, "good.yaml", "--out")),
        (["generate", "RUN", "--prompt", "a", "--tokens", "-5"], Answer(64, "--tokens", "at least 1", "-5")),
        (["verify", "RUN", "--tolerance", "memory.peek=5%"], Answer(64, "memory.peek", "memory.peak")),
        (["verify", "RUN", "--tolerance", "memory.peak=x"], Answer(64, "memory.peak=x", "5%")),
        (["estimate", "CONFIG", "--ranks", "0"], Answer(64, "--ranks")),
        (
            ["estimate", "CONFIG", "--ranks", "5"],
            Answer(78, "train.global_batch 12", "1, 2, 3, 4, 6, 12 ranks")
        ),
    ])
    func optionsAreRefused(arguments: [String], answer: Answer) throws {
        answer.check(try lockstep(resolved(arguments)))
    }

    @Test(arguments: [
        ["--prompt", "-x"], ["--prompt", String(repeating: "in the ", count: 50), "--truncate"],
        ["--prompt", "in", "--top-p", "0.9", "--temperature", "1"], ["--prompt", "in", "--beams", "3"],
        ["--prompt", "in", "--threads", "2", "--stop", "xyz"],
        ["--prompt", "ä", "--top-k", "100000", "--temperature", "1"],
        ["--prompt", "a", "--temperature", "1e-300"], ["--prompt", "a", "--temperature", "1e300"],
    ])
    func unusualPromptsAreContinued(options: [String]) throws {
        let result = try lockstep(resolved(["generate", "RUN", "--tokens", "5"] + options))
        #expect(result.exitCode == 0 && result.standardError == "", "\(result.standardError)")
        #expect(result.standardOutput.hasPrefix(options[1]) && result.standardOutput.hasSuffix("\n"))
    }

    @Test func aPromptThatIsNoTextIsRefused() throws {
        let run = try Self.trained.get().folder.run("good").path
        Answer(64, "argument 4", "UTF-8").check(
            try shell(#"lockstep generate "$FOLDER" --prompt $'\xff\xfe'"#, folder: run))
    }

    private func resolved(_ arguments: [String]) throws -> [String] {
        let experiment = try Self.trained.get().folder
        return arguments.map {
            $0 == "CONFIG"
                ? experiment.folder + "/good.yaml"
                : $0.hasPrefix("RUN") ? experiment.run("good").path + $0.dropFirst(3) : $0
        }
    }

    private func arguments(_ command: String, _ run: String) -> [String] {
        [command, run] + (command == "generate" ? ["--prompt", "a", "--tokens", "3"] : [])
    }

    private func withDamagedRun(_ damage: Damage, _ body: (String) throws -> Void) throws {
        let copy = NSTemporaryDirectory() + "damaged-\(UUID().uuidString)"
        try FileManager.default.copyItem(
            atPath: Self.trained.get().folder.run("good").path, toPath: copy)
        defer { try? FileManager.default.removeItem(atPath: copy) }
        try damage.inflict(copy)
        try body(copy)
    }
}

private let garbage = String(repeating: "\u{1}\u{FFFD}{[", count: 500)

private func put(_ text: String, _ path: String) throws { try Data(text.utf8).write(to: URL(filePath: path)) }

private func change(_ path: String, _ body: (inout Data) -> Void) throws {
    var data = try Data(contentsOf: URL(filePath: path))
    body(&data)
    try data.write(to: URL(filePath: path))
}

/// Replaces the first `old`, which must be there.
private func edit(_ path: String, _ old: String, _ new: String) throws {
    var text = try String(contentsOfFile: path, encoding: .utf8)
    let range = try #require(text.range(of: old))
    text.replaceSubrange(range, with: new)
    try put(text, path)
}
