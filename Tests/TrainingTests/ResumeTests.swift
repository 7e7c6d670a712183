import Configs
import Foundation
import Ledger
import TestSupport
import Testing
import Training

/// Runs that are interrupted and go on.
@Suite(.serialized) struct ResumeTests {
    private static let settings = [
        "train.steps=12", "train.checkpoint_every=4", "train.evaluate_every=5", "model.dropout=0.2",
    ]

    private func train(
        _ experiment: Experiment, _ name: String, ranks: Int, _ settings: [String]
    ) throws -> CommandResult {
        try mpirun(
            ranks: ranks, program: "lockstep", arguments: experiment.arguments(name, settings), timeout: 120)
    }

    /// Dropout, schedule, data and the optimizer's state go on, whole and sharded, with momentum of every kind.
    @Test(
        arguments: [
            [], ["parallel.optimizer_sharding=true", "train.checkpoint_every=3"],
            ["train.optimizer={name: rmsprop, learning_rate: 0.001, momentum: 0.5}"],
            ["train.optimizer={name: sgd, learning_rate: 0.01}"],
        ], 1...3)
    func atTheSameNumberOfRanksItIsTheSameToTheBit(changes: [String], ranks: Int) throws {
        let experiment = try Experiment()
        let settings = Self.settings + changes
        let whole = try train(experiment, "run", ranks: ranks, settings)
        try #require(whole.exitCode == 0, "\(whole.standardError)")
        let (files, losses) = try (experiment.checkpoint("run", 12), experiment.losses("run"))
        let evaluations = try experiment.evaluations("run")

        let last = changes.contains("train.checkpoint_every=3") ? 9 : 8
        try experiment.interrupt("run", behind: last)
        let resumed = try train(experiment, "run", ranks: ranks, settings + ["--resume"])
        try #require(resumed.exitCode == 0, "\(resumed.standardError)")
        #expect(resumed.standardError.contains("resuming behind step \(last) of 12"))
        for (name, content) in try experiment.checkpoint("run", 12) where name.hasSuffix(".safetensors") {
            #expect(content == files[name], "\(name) differs")
        }
        #expect(try experiment.losses("run") == losses)
        #expect(try experiment.evaluations("run") == evaluations)
        let steps = try experiment.samples("run").filter { $0.rank == 0 }.map(\.step)
        #expect(steps == Array(1...12))
        let status = try RunStatus.read(from: experiment.directory("run").status)
        #expect(status.state == .completed && status.step == 12 && status.exitCode == 0)
        let verification = try Verification(of: experiment.directory("run"))
        #expect(verification.misses.filter { $0.tolerance == 0 }.isEmpty && verification.steps == 12 - last)
    }

    @Test(arguments: [(1, 3), (3, 2), (4, 1)], [false, true])
    func atAnotherNumberOfRanksItIsTheSameButForRounding(ranks: (from: Int, to: Int), sharding: Bool) throws {
        let experiment = try Experiment()
        let settings = Self.settings + ["parallel.optimizer_sharding=\(sharding)"]
        let whole = try train(experiment, "run", ranks: ranks.from, settings)
        try #require(whole.exitCode == 0, "\(whole.standardError)")
        let losses = try experiment.losses("run")
        try experiment.interrupt("run", behind: 8)
        let resumed = try train(
            experiment, "run", ranks: ranks.to, settings + ["train.micro_batch=2", "--resume"])
        try #require(resumed.exitCode == 0, "\(resumed.standardError)")
        let again = try experiment.losses("run")
        let worst = zip(losses, again).map { abs($0 - $1) / $0 }.max() ?? .infinity
        #expect(again.count == 12 && worst < 1e-6, "losses differ by \(worst)")
        let exact = try Verification(of: experiment.directory("run")).results.filter { $0.tolerance == 0 }
        #expect(!exact.isEmpty && exact.allSatisfy { $0.within == true })
    }

    /// Stopped twice, and resumed each time on twice the ranks; with an odd number of micro-batches on each.
    @Test(arguments: [[], ["train.global_batch=24", "train.micro_batch=2", "parallel.bucket_mib=1"]])
    func aReproducibleRunHasTheSameBitsAtEveryNumberOfRanks(changes: [String]) throws {
        let experiment = try Experiment()
        let settings = Self.settings + ["parallel.reproducible=true", "train.keep_checkpoints=3"] + changes
        for ranks in [1, 2, 4] {
            let result = try train(experiment, "ranks-\(ranks)", ranks: ranks, settings)
            try #require(result.exitCode == 0, "\(result.standardError)")
        }
        let model = try experiment.checkpoint("ranks-1", 12)["model.safetensors"]
        let losses = try experiment.losses("ranks-1")
        for ranks in [2, 4] {
            #expect(
                try experiment.checkpoint("ranks-\(ranks)", 12)["model.safetensors"] == model,
                "\(ranks) ranks")
            #expect(try experiment.losses("ranks-\(ranks)") == losses)
        }
        for (step, ranks) in [(4, 2), (8, 4)] {
            try experiment.interrupt("ranks-1", behind: step)
            let result = try train(experiment, "ranks-1", ranks: ranks, settings + ["--resume"])
            try #require(result.exitCode == 0, "\(result.standardError)")
            #expect(result.standardError.contains("resuming behind step \(step)"), "\(result.standardError)")
            #expect(try experiment.checkpoint("ranks-1", 12)["model.safetensors"] == model, "\(ranks) ranks")
            #expect(try experiment.losses("ranks-1") == losses)
        }
    }

    @Test func aReproducibleRunNeedsAPowerOfTwo() throws {
        let experiment = try Experiment()
        let result = try train(experiment, "run", ranks: 3, ["parallel.reproducible=true"])
        #expect(result.exitCode == 78 && result.standardError.contains("power of two, not 3; start 2 or 4"))
    }

    @Test func aRunThatNeverSavedStartsOver() throws {
        let experiment = try Experiment()
        let new = try train(experiment, "run", ranks: 1, Self.settings + ["--resume"])
        try #require(new.exitCode == 0, "\(new.standardError)")
        #expect(new.standardError.contains("no run to resume yet"))
        let losses = try experiment.losses("run")
        // As if it had been killed before the first checkpoint.
        let run = try experiment.directory("run")
        try experiment.interrupt("run", behind: 0)
        for folder in ["data", "log"] { try FileManager.default.removeItem(atPath: "\(run.path)/\(folder)") }
        try FileManager.default.removeItem(atPath: run.checkpointLog)
        let again = try train(experiment, "run", ranks: 2, Self.settings + ["--resume"])
        try #require(again.exitCode == 0, "\(again.standardError)")
        #expect(again.standardError.contains("before its first checkpoint"))
        #expect(try experiment.losses("run").count == losses.count)
    }

    @Test func aCompletedRunIsLeftAlone() throws {
        let experiment = try Experiment()
        try #require(train(experiment, "run", ranks: 2, Self.settings).exitCode == 0)
        let files = try experiment.checkpoint("run", 12)
        for state in ["completed", "running"] {
            var status = try RunStatus.read(from: experiment.directory("run").status)
            if state == "running" { status.state = .running }
            try status.write(to: experiment.directory("run").status)
            let again = try train(experiment, "run", ranks: 2, Self.settings + ["--resume"])
            #expect(
                again.exitCode == 0 && again.standardError.contains("nothing to resume"),
                "\(again.standardError)")
            #expect(try experiment.checkpoint("run", 12) == files)
            #expect(try RunStatus.read(from: experiment.directory("run").status).state == .completed)
        }
        // More steps are more of the same run.
        let more = try train(experiment, "run", ranks: 1, Self.settings + ["train.steps=14", "--resume"])
        #expect(
            more.exitCode == 0 && more.standardError.contains("schedule of the new length"),
            "\(more.standardError)")
        #expect(try experiment.losses("run").count == 14)
    }

    @Test(arguments: [
        ("train.global_batch=24", "train.global_batch is 24, but the run was trained with 12"),
        ("model.dropout=0.1", "model.dropout is 0.1, but the run was trained with 0.2"),
        ("train.seed=9", "train.seed is 9, but the run was trained with 1"),
        ("train.optimizer.weight_decay=0.2", "train.optimizer.weight_decay is 0.2"),
        ("parallel.reproducible=true", "parallel.reproducible is true"),
    ])
    func anotherRunIsRefused(change: String, words: String) throws {
        let experiment = try Experiment()
        try #require(train(experiment, "run", ranks: 1, Self.settings).exitCode == 0)
        try experiment.interrupt("run", behind: 8)
        let losses = try experiment.losses("run")
        let result = try train(experiment, "run", ranks: 2, Self.settings + [change, "--resume"])
        #expect(result.exitCode == 78 && result.standardError.contains(words), "\(result.standardError)")
        #expect(try experiment.losses("run") == losses, "nothing was touched")
    }

    @Test func theCorpusIsTheSameWhereverItLies() throws {
        let experiment = try Experiment()
        try #require(train(experiment, "run", ranks: 1, Self.settings).exitCode == 0)
        try experiment.interrupt("run", behind: 8)
        let text = try Data(contentsOf: URL(filePath: "\(experiment.folder)/corpus.txt"))
        let moved = try experiment.write(text, to: "moved.txt")
        let other = try experiment.write(text.reversed(), to: "other.txt")
        let refused = try train(
            experiment, "run", ranks: 2, Self.settings + ["data.path=\(other)", "--resume"])
        #expect(refused.exitCode == 65 && refused.standardError.contains("other.txt: its content is not"))
        let accepted = try train(
            experiment, "run", ranks: 2, Self.settings + ["data.path=\(moved)", "--resume"])
        #expect(accepted.exitCode == 0, "\(accepted.standardError)")
    }

    @Test func lostCheckpointsAreNoReasonToStartOver() throws {
        let experiment = try Experiment()
        try #require(train(experiment, "run", ranks: 1, Self.settings).exitCode == 0)
        try experiment.interrupt("run", behind: 0)
        let result = try train(experiment, "run", ranks: 2, Self.settings + ["--resume"])
        #expect(
            result.exitCode == 66 && result.standardError.contains("tells of one of step 4"),
            "\(result.standardError)")
    }

    @Test func aDamagedNewestCheckpointFallsBack() throws {
        let experiment = try Experiment()
        try #require(train(experiment, "run", ranks: 2, Self.settings).exitCode == 0)
        let files = try experiment.checkpoint("run", 12)
        let run = try experiment.directory("run")
        try experiment.interrupt("run", behind: 12)
        try Data("{}".utf8).write(
            to: URL(filePath: "\(run.checkpoints)/step-12/optimizer-1-of-2.safetensors"))
        let result = try train(experiment, "run", ranks: 2, Self.settings + ["--resume"])
        #expect(result.exitCode == 0, "\(result.standardError)")
        #expect(result.standardError.contains("warning"))
        #expect(result.standardError.contains("step-12/optimizer-1-of-2.safetensors: 2 bytes, expected"))
        #expect(try experiment.checkpoint("run", 12) == files)
        let names = try FileManager.default.contentsOfDirectory(atPath: run.checkpoints)
        #expect(names.contains { $0.hasPrefix("damaged-step-12-") })
    }

    /// However short the steps: no more of them than lie between two checkpoints are done beyond the last that is whole.
    @Test func stepsWaitForTheCheckpointBeforeThem() throws {
        let experiment = try Experiment()
        let every = 3
        let run = try RunUnderWay(
            experiment, "run", ranks: 2, "train.checkpoint_every=\(every)", "train.global_batch=2")
        let folder = try experiment.directory("run").checkpoints
        var last = 0
        while last < 300 {
            last = try run.heartbeat(0).step
            // Seen later than the step, so that there is no more than was then.
            let saved = try FileManager.default.contentsOfDirectory(atPath: folder)
                .compactMap { $0.hasPrefix("step-") ? Int($0.dropFirst("step-".count)) : nil }.max()
            #expect(last - 1 - (saved ?? 0) <= every)
            usleep(1000)
        }
        try run.send(SIGUSR1, to: 0)
        #expect(try run.finish().exitCode == Configs.ExitStatus.preempted.rawValue)
    }

    /// A slow disk is not a hang: every mebibyte is told, and that the file is on the disk.
    @Test func aSaveShowsItsProgress() throws {
        let experiment = try Experiment()
        var progress = 0
        try CheckpointFile.writeSample(Data(count: 5 << 19), into: experiment.folder) { progress += 1 }
        #expect(progress == 3 + 1)
    }

    /// 2 newest and every multiple of 6, and nothing of what was under way.
    @Test func oldCheckpointsGo() throws {
        let experiment = try Experiment()
        let result = try train(
            experiment, "run", ranks: 2,
            ["train.steps=20", "train.checkpoint_every=2", "train.keep_checkpoint_every=6"])
        try #require(result.exitCode == 0, "\(result.standardError)")
        let run = try experiment.directory("run")
        #expect(
            try Set(FileManager.default.contentsOfDirectory(atPath: run.checkpoints))
                == ["step-6", "step-12", "step-18", "step-20", "latest"])
        #expect(try String(contentsOfFile: "\(run.checkpoints)/latest", encoding: .utf8) == "step-20\n")
        var reader = try CheckpointReader(path: run.checkpointLog)
        var records: [CheckpointRecord] = []
        while let record = try reader.next() { records.append(record) }
        #expect(records.map(\.step) == Array(stride(from: 2, through: 20, by: 2)))
        #expect(records.allSatisfy { $0.seconds > 0 && ($0.waitedSeconds ?? -1) > 0 })
    }
}
