import Configs
import Corpus
import Foundation
import Ledger
import TestSupport
import Testing
import Training

/// Runs that go back to a checkpoint when a step is not finite (`train.on_non_finite: rollback`).
@Suite(.serialized) struct RollbackTests {
    private static let settings = [
        "train.steps=12", "train.checkpoint_every=4", "train.keep_checkpoints=9",
        "train.schedule={name: constant}", "model.tie_embeddings=false", "train.on_non_finite=rollback",
    ]

    /// A run behind step 2, to whose model a byte is poison that comes in the samples at `positions` of the order.
    private func poisoned(
        at positions: [Int], reproducible: Bool
    ) throws -> (experiment: Experiment, settings: [String]) {
        let experiment = try Experiment()
        let settings = Self.settings + ["parallel.reproducible=\(reproducible)"]
        let arguments = try experiment.arguments("base", settings + ["train.steps=2"])
        let path = "\(experiment.folder)/corpus.txt"
        var text = try Data(contentsOf: URL(filePath: path))
        let (context, validation) = (21, Int((Double(text.count) * 0.1).rounded()))
        let order = SampleOrder(seed: 1, count: (text.count - validation - 1) / context)
        for position in positions { text[order.sample(at: position) * context + 10] = UInt8(ascii: "~") }
        try experiment.write(text, to: "corpus.txt")
        let result = try mpirun(
            ranks: 1, program: "rank-programs",
            arguments: ["poisoned-byte", arguments[1], experiment.run("base").path] + arguments.dropFirst(4))
        try #require(result.exitCode == 0, "\(result.standardError)")
        return (experiment, settings)
    }

    private func resume(
        _ experiment: Experiment, _ name: String, ranks: Int, _ settings: [String]
    ) throws -> CommandResult {
        try mpirun(
            ranks: ranks, program: "lockstep",
            arguments: experiment.arguments(name, settings + ["--resume"]), timeout: 120)
    }

    private func copy(_ experiment: Experiment, _ name: String, to other: String) throws {
        try FileManager.default.copyItem(
            atPath: experiment.run(name).path, toPath: experiment.run(other).path)
    }

    private func records(_ experiment: Experiment, _ name: String) throws -> [ResumeRecord] {
        var reader = try ResumeReader(path: experiment.directory(name).resumes)
        var records: [ResumeRecord] = []
        while let record = try reader.next() { records.append(record) }
        return records
    }

    /// Where the order of the data stands behind a checkpoint.
    private func dataCursor(_ experiment: Experiment, _ name: String, _ step: Int) throws -> Int {
        struct State: Decodable { let dataCursor: Int }
        let state = try #require(try experiment.checkpoint(name, step)["state.json"])
        let network = JSONDecoder()
        network.keyDecodingStrategy = .convertFromSnakeCase
        return try network.decode(State.self, from: state).dataCursor
    }

    /// Step 7 takes the positions 72 to 83, and when it comes again 108 to 119.
    @Test func itGoesOnBehindTheSamplesThatLedThere() throws {
        let (experiment, settings) = try poisoned(at: [75, 110], reproducible: true)
        for ranks in [1, 2, 4] {
            let name = "ranks-\(ranks)"
            try copy(experiment, "base", to: name)
            let result = try resume(experiment, name, ranks: ranks, settings)
            try #require(result.exitCode == 0, "\(result.standardError)")
            #expect(
                result.standardError.contains(
                    "Back to the checkpoint of step 4, and on with the samples from")
            )
            #expect(
                try records(experiment, name) == [
                    ResumeRecord(step: 2, ranks: ranks),
                    ResumeRecord(step: 4, ranks: ranks, rolledBackFrom: 7),
                    ResumeRecord(step: 4, ranks: ranks, rolledBackFrom: 7),
                ])
            #expect(try dataCursor(experiment, name, 12) == (12 + 3 + 3) * 12)
            #expect(try experiment.losses(name).count == 12)
            #expect(try experiment.losses(name) == experiment.losses("ranks-1"))
            let status = try RunStatus.read(from: experiment.directory(name).status)
            #expect(status.state == .completed && status.rollbacks == 2)
            let verification = try Verification(of: experiment.directory(name))
            #expect(verification.misses.filter { $0.tolerance == 0 }.isEmpty && verification.steps == 8)
        }
        let model = try experiment.checkpoint("ranks-1", 12)["model.safetensors"]
        for name in ["ranks-2", "ranks-4"] {
            #expect(try experiment.checkpoint(name, 12)["model.safetensors"] == model, "\(name)")
        }
        // Interrupted behind it, and before, the run is the same.
        for (behind, ranks) in [(8, 2), (4, 4)] {
            try experiment.interrupt("ranks-1", behind: behind)
            let again = try resume(experiment, "ranks-1", ranks: ranks, settings)
            try #require(again.exitCode == 0, "\(again.standardError)")
            #expect(again.standardError.contains("resuming behind step \(behind)"))
            #expect(again.standardError.contains("Back to the checkpoint") == (behind == 4))
            #expect(
                try experiment.checkpoint("ranks-1", 12)["model.safetensors"] == model, "behind \(behind)")
            #expect(try dataCursor(experiment, "ranks-1", 12) == (12 + 3 + 3) * 12)
            #expect(try experiment.losses("ranks-1") == experiment.losses("ranks-2"))
        }
    }

    @Test(arguments: [1, 3], [false, true]) func withEveryKindOfOptimizerState(ranks: Int, sharded: Bool)
        throws
    {
        let (experiment, settings) = try poisoned(at: [75], reproducible: false)
        let result = try resume(
            experiment, "base", ranks: ranks, settings + ["parallel.optimizer_sharding=\(sharded)"])
        try #require(result.exitCode == 0, "\(result.standardError)")
        #expect(try dataCursor(experiment, "base", 12) == (12 + 3) * 12)
        #expect(try experiment.losses("base").allSatisfy { $0.isFinite })
    }

    /// A checkpoint that leads nowhere is not tried for ever.
    @Test(arguments: [1, 2]) func tooManyRollbacksEndTheRun(ranks: Int) throws {
        let experiment = try Experiment()
        let result = try experiment.train(
            "run", ranks: ranks, "train.optimizer.learning_rate=1e30", "train.schedule.warmup_steps=0",
            "train.steps=100", "train.checkpoint_every=1", "train.on_non_finite=rollback")
        #expect(result.exitCode == Configs.ExitStatus.nonFinite.rawValue)
        #expect(result.standardError.contains(" 3 times, and ends"), "\(result.standardError)")
        let status = try RunStatus.read(from: experiment.directory("run").status)
        #expect(status.state == .failed && status.rollbacks == 3)
        #expect(try experiment.samples("run").count == ranks * status.step)
    }

    @Test(arguments: [
        ("train.checkpoint_every=50", Configs.ExitStatus.nonFinite, "no checkpoint yet to go back to"),
        ("train.checkpoint_every=0", .badConfiguration, "train.checkpoint_every must be above 0"),
    ])
    func withoutACheckpointItEnds(every: String, status: Configs.ExitStatus, words: String) throws {
        let experiment = try Experiment()
        let result = try experiment.train(
            "run", ranks: 2, "train.optimizer.learning_rate=1e30", "train.schedule.warmup_steps=0",
            "train.steps=100", every, "train.on_non_finite=rollback")
        #expect(result.exitCode == status.rawValue)
        #expect(result.standardError.contains(words), "\(result.standardError)")
    }
}
