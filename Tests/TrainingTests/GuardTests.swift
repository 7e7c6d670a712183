import Configs
import Foundation
import Ledger
import TestSupport
import Testing
import Training

/// What is watched while a run trains, and compared before.
@Suite(.serialized) struct GuardTests {
    @Test(arguments: ["skipped-step", "passed-over-samples", "replica-check"], [2, 3])
    func rankProgram(name: String, ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: [name])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    @Test(arguments: [2, 3])
    func ranksThatDifferAreTold(ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: ["comparison"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    /// A run whose steps are all skipped ends, after as many as are bad luck.
    @Test(arguments: [1, 2]) func tooManySkipsEndTheRun(ranks: Int) throws {
        let experiment = try Experiment()
        let result = try experiment.train(
            "run", ranks: ranks, "train.optimizer.learning_rate=1e30", "train.schedule.warmup_steps=0",
            "train.steps=100", "train.on_non_finite=skip")
        #expect(result.exitCode == Configs.ExitStatus.nonFinite.rawValue)
        #expect(result.standardError.contains("10 updates in a row were left out"), "\(result.standardError)")
        let status = try RunStatus.read(from: experiment.directory("run").status)
        #expect(status.state == .failed && status.skippedSteps == 10)
        let samples = try experiment.samples("run")
        #expect(samples.count == ranks * status.step && samples.count { $0.isSkipped } == 10 * ranks)
        #expect(samples.allSatisfy { $0.isSkipped == $0.gradientNorm.isNaN })
    }

    @Test func aFlippedBitEndsTheRunAtTheNextCheck() throws {
        let experiment = try Experiment()
        _ = try experiment.arguments("run", [])
        let run = "\(experiment.folder)/flipped"
        let result = try mpirun(
            ranks: 3, program: "rank-programs",
            arguments: [
                "flipped-bit", "\(experiment.folder)/run.yaml", run, "train.steps=60",
                "train.checkpoint_every=6",
                "parallel.replica_check_every=4",
            ])
        #expect(result.exitCode == Configs.ExitStatus.replicasDiverged.rawValue, "\(result.standardError)")
        #expect(result.standardError.contains("after step 4 the replicas"), "\(result.standardError)")
        #expect(result.standardError.contains("rank 2 ("), "\(result.standardError)")
        let directory = try RunDirectory(existing: run)
        let status = try RunStatus.read(from: directory.status)
        #expect(status.state == .failed && status.exitCode == Configs.ExitStatus.replicasDiverged.rawValue)
        #expect(!FileManager.default.fileExists(atPath: "\(directory.checkpoints)/latest"))
    }

    @Test func aSlowRankIsFlaggedAndUnflagged() {
        var monitor = StragglerMonitor(ranks: 4)
        var findings: [Int: StragglerMonitor.Finding] = [:]
        for step in 1...100 {
            // A tenth of noise; from step 31 to step 60 rank 2 is at half speed.
            for finding in monitor.add({ rank in
                (1 + 0.1 * Double((step * 7 + rank * 3) % 5) / 5)
                    * (rank == 2 && (31...60).contains(step) ? 2 : 1)
            }) { findings[step] = finding }
        }
        let steps = findings.keys.sorted()
        #expect(findings.count == 2 && steps.map { findings[$0]!.isSlow } == [true, false])
        #expect((31...50).contains(steps[0]) && (61...80).contains(steps[1]))
        #expect(findings.values.allSatisfy { $0.rank == 2 } && monitor.slow.isEmpty)
    }

    @Test func ofTwoRanksTheSlowerIsFlagged() {
        var monitor = StragglerMonitor(ranks: 2)
        for _ in 1...20 { _ = monitor.add { $0 == 1 ? 1.7 : 1 } }
        #expect(monitor.slow == [1])
        var equal = StragglerMonitor(ranks: 2)
        for step in 1...40 { _ = equal.add { step % 7 == 3 * $0 ? 5 : 1 } }
        #expect(equal.slow.isEmpty)
        var alone = StragglerMonitor(ranks: 1)
        for _ in 1...40 { #expect(alone.add { _ in 1 }.isEmpty) }
    }

    /// A rank that is stopped and continued gets a fraction of its time.
    @Test func aThrottledRankIsFlaggedInTheRun() throws {
        let experiment = try Experiment()
        let run = try RunUnderWay(experiment, "run", ranks: 2, "train.global_batch=48")
        let process = try run.heartbeat(1).process
        let last = try run.heartbeat(1).step + 400
        while try run.heartbeat(1).step < last {
            kill(process, SIGSTOP)
            usleep(8000)
            kill(process, SIGCONT)
            usleep(1000)
        }
        try run.send(SIGUSR1, to: 0)
        let result = try run.finish()
        #expect(result.standardError.contains("lockstep: warning: rank 1 on "), "\(result.standardError)")
        let log = try String(contentsOfFile: experiment.directory("run").log(rank: 0), encoding: .utf8)
        #expect(log.contains(" rank 1 on "))
    }

    /// Two ranks that mpirun starts with different command lines.
    private func mixed(
        _ experiment: Experiment, _ first: [String], _ second: [String]
    ) throws -> CommandResult {
        let train = try experiment.arguments("run", [])
        let launch = ["mpirun", "--oversubscribe", "-n", "1"] + first + train
        return try TestSupport.run(
            URL(filePath: "/usr/bin/env"), launch + [":", "-n", "1"] + second + train)
    }

    @Test func ranksOfDifferentProgramsAreRefused() throws {
        let experiment = try Experiment()
        let program = try builtProduct("lockstep").path
        let other = "\(experiment.folder)/other"
        try FileManager.default.copyItem(atPath: program, toPath: other)
        let file = try FileHandle(forWritingTo: URL(filePath: other))
        try file.seekToEnd()
        try file.write(contentsOf: Data([0]))
        try file.close()
        try requireRefused(try mixed(experiment, [program], [other]), experiment, "the program differs: ")
    }

    @Test func ranksOfDifferentKernelsAreRefused() throws {
        let experiment = try Experiment()
        let program = try builtProduct("lockstep").path
        let result = try mixed(
            experiment, ["env", "OPENBLAS_CORETYPE=Haswell", program],
            ["env", "OPENBLAS_CORETYPE=SkylakeX", program])
        try requireRefused(
            result, experiment, "OpenBLAS's choice of kernels differs: Haswell on rank 0, SkylakeX on rank 1")
    }

    @Test func ranksOfDifferentConfigurationsAreRefused() throws {
        let experiment = try Experiment()
        let program = try builtProduct("lockstep").path
        let train = try experiment.arguments("run", [])
        let result = try TestSupport.run(
            URL(filePath: "/usr/bin/env"),
            ["mpirun", "--oversubscribe", "-n", "1", program] + train + [":", "-n", "1", program] + train
                + ["train.seed=9"])
        try requireRefused(result, experiment, "the configuration differs: ")
    }

    /// A token shard that every rank has a file of its own for.
    @Test func ranksOfDifferentCorporaAreRefused() throws {
        let experiment = try Experiment()
        let program = try builtProduct("lockstep").path
        let train = try experiment.arguments("first", ["train.evaluate_every=0"])
        try #require(try TestSupport.run(URL(filePath: program), train).exitCode == 0)
        let shard = try Data(
            contentsOf: URL(filePath: experiment.directory("first").data + "/train.bin"))
        for (rank, folder) in ["a", "b"].enumerated() {
            try FileManager.default.createDirectory(
                atPath: "\(experiment.folder)/\(folder)", withIntermediateDirectories: true)
            var shard = shard
            shard[shard.count - 2] = UInt8(65 + rank)
            try experiment.write(shard, to: "\(folder)/tokens.bin")
        }
        let run = try experiment.arguments("run", ["data.path=tokens.bin"])
        let result = try TestSupport.run(
            URL(filePath: "/usr/bin/env"),
            ["mpirun", "--oversubscribe", "-n", "1", "-wdir", "\(experiment.folder)/a", program] + run
                + [":", "-n", "1", "-wdir", "\(experiment.folder)/b", program] + run)
        try requireRefused(result, experiment, "tokens.bin differs: ")
    }

    private func requireRefused(_ result: CommandResult, _ experiment: Experiment, _ text: String) throws {
        #expect(result.exitCode == Configs.ExitStatus.badConfiguration.rawValue, "\(result.standardError)")
        #expect(result.standardError.contains(text), "\(result.standardError)")
        #expect(result.standardError.components(separatedBy: "lockstep: error:").count == 2)
        #expect(!experiment.run("run").exists)
    }

    @Test func groupsOfRanks() {
        #expect(RankDifference([4, 4, 4]) == nil)
        #expect(RankDifference([4, 5, 4])?.outvoted == [1])
        #expect(RankDifference([4, 5])?.outvoted == nil)
        #expect(RankDifference([4, 5, 5, 6, 5])?.outvoted == [0, 3])
        #expect(RankDifference.list([3]) == "rank 3")
        #expect(RankDifference.list([0, 3]) == "ranks 0 and 3")
        #expect(RankDifference.list([0, 3, 4, 5]) == "ranks 0, 3, 4 and 5")
        #expect(RankDifference.list(Array(0..<9)) == "ranks 0, 1, 2 and 6 more")
    }
}
