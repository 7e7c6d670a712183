import Foundation
import Ledger
import TestSupport
import Testing
import Training

@Suite struct EarlyStoppingTests {
    @Test func aHistoryKnowsItsBest() {
        var history = ValidationHistory()
        #expect(!history.isHopeless(patience: 1))
        let areBest = [2.0, 1.5, 1.5, 1.75, 1.25].enumerated().map { history.add($1, after: 10 * ($0 + 1)) }
        #expect(areBest == [true, true, false, false, true])
        #expect(!history.isHopeless(patience: 1))
        let isBest = history.add(1.5, after: 60)
        #expect(!isBest && history.isHopeless(patience: 1) && !history.isHopeless(patience: 2))
        #expect(!history.isHopeless(patience: 0))
    }

    /// A learning rate that soon does harm.
    private let settings = [
        "train.steps=60", "train.evaluate_every=2", "train.patience=3", "train.checkpoint_every=4",
        "train.optimizer.learning_rate=0.3", "train.schedule.name=constant", "train.clip_norm=null",
        "train.micro_batch=auto",
    ]

    private func evaluations(_ experiment: Experiment, _ name: String) throws -> [(step: Int, loss: Double)] {
        try experiment.evaluations(name).map { ($0.key, $0.value ?? .nan) }.sorted { $0.step < $1.step }
    }

    /// The run ends three evaluations behind its best one, which is on disk; going on from before leads to the same end.
    @Test func aRunEndsWhenItNoLongerImproves() throws {
        let experiment = try Experiment()
        let result = try mpirun(
            ranks: 2, program: "lockstep", arguments: try experiment.arguments("run", settings), timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let losses = try evaluations(experiment, "run")
        let best = try #require(losses.min { $0.loss < $1.loss })
        let end = try #require(losses.last).step
        #expect(end == best.step + 6 && end < 60)
        #expect(result.standardError.contains("ended early behind step \(end) of 60"))
        let run = try experiment.directory("run")
        let status = try RunStatus.read(from: run.status)
        #expect(status.state == .completed && status.step == end && status.exitCode == 0)
        #expect(try experiment.losses("run").count == end)
        let kept = CheckpointStore(run).steps
        #expect(kept.contains(best.step) && kept.first == end && kept.count == 3)
        let verified = try TestSupport.run(
            try builtProduct("lockstep"), ["verify", run.path, "--tolerance", "memory.peak=none"])
        #expect(verified.exitCode == 0, "\(verified.standardOutput)")

        for (flags, expected) in [(["--best"], best), ([], losses.last!)] {
            let evaluated = try mpirun(
                ranks: 1, program: "lockstep", arguments: ["evaluate", run.path, "--json"] + flags)
            let answer = try #require(
                JSONSerialization.jsonObject(with: Data(evaluated.standardOutput.utf8)) as? [String: Any])
            #expect(answer["step"] as? Int == expected.step)
            #expect(abs((answer["validation_loss"] as? Double ?? 0) - expected.loss) < 1e-5 * expected.loss)
        }

        // Ended for good, unless more patience is asked for.
        let again = try mpirun(
            ranks: 2, program: "lockstep",
            arguments: try experiment.arguments("run", settings + ["--resume"]), timeout: 120)
        #expect(again.exitCode == 0 && again.standardError.contains("nothing to resume"))
        let patient = try mpirun(
            ranks: 1, program: "lockstep",
            arguments: try experiment.arguments(
                "run", settings + ["--resume", "train.patience=4"]), timeout: 120)
        #expect(patient.exitCode == 0, "\(patient.standardError)")
        #expect(try evaluations(experiment, "run").count > losses.count)
    }

    /// What a checkpoint knows of earlier evaluations counts behind it.
    @Test func aResumedRunRemembersItsBest() throws {
        let experiment = try Experiment()
        let all =
            settings + ["parallel.reproducible=true", "train.micro_batch=1", "train.keep_checkpoints=99"]
        let result = try mpirun(
            ranks: 2, program: "lockstep", arguments: try experiment.arguments("run", all), timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let whole = try evaluations(experiment, "run").map(\.loss)
        let end = try RunStatus.read(from: experiment.directory("run").status).step
        // Behind the best evaluation and before the end.
        let middle = try #require(
            CheckpointStore(experiment.directory("run")).steps.first { $0 < end && $0 > end - 6 })
        try experiment.interrupt("run", behind: middle)
        let resumed = try mpirun(
            ranks: 1, program: "lockstep", arguments: try experiment.arguments("run", all + ["--resume"]),
            timeout: 120)
        #expect(resumed.exitCode == 0, "\(resumed.standardError)")
        #expect(resumed.standardError.contains("ended early behind step \(end) of 60"))
        // As many evaluations; sums over one rank and two differ in the last bits.
        let losses = try evaluations(experiment, "run").map(\.loss)
        #expect(losses.count == whole.count && zip(losses, whole).allSatisfy { abs($0 - $1) < 1e-6 * $1 })
    }

    @Test func withoutABestOneThereIsAnError() throws {
        let experiment = try Experiment()
        let result = try experiment.train(
            "run", ranks: 1, "train.evaluate_every=2", "train.checkpoint_every=6",
            "train.optimizer.learning_rate=1", "train.schedule.name=constant")
        try #require(result.exitCode == 0, "\(result.standardError)")
        let run = try experiment.directory("run")
        let losses = try evaluations(experiment, "run")
        try #require(losses.min { $0.loss < $1.loss }?.step != 6)
        for command in [["evaluate", run.path], ["generate", run.path, "--prompt", "a"]] {
            let answer = try TestSupport.run(try builtProduct("lockstep"), command + ["--best"])
            #expect(answer.exitCode == 66 && answer.standardError.contains("train.keep_best=true"))
        }
        let both = try TestSupport.run(
            try builtProduct("lockstep"), ["evaluate", run.path, "--best", "--step", "6"])
        #expect(both.exitCode == 64)
    }
}
