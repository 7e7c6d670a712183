import Configs
import Foundation
import Ledger
import TestSupport
import Testing

/// Runs that are asked to stop.
@Suite(.serialized) struct PreemptionTests {
    @Test(arguments: [SIGUSR1, SIGTERM, SIGINT], 1...3)
    func aRequestToAnyRankSavesAndEnds(signal: Int32, ranks: Int) throws {
        let experiment = try Experiment()
        let run = try RunUnderWay(experiment, "run", ranks: ranks)
        let step = try run.heartbeat(ranks - 1).step
        try run.send(signal, to: ranks - 1)
        try requirePreempted(run, experiment, ranks: ranks, after: step)
    }

    /// mpirun passes the signal on to all ranks.
    @Test func aRequestToTheLauncherReachesTheRanks() throws {
        let experiment = try Experiment()
        let run = try RunUnderWay(experiment, "run", ranks: 2, "train.checkpoint_every=1")
        let step = try run.heartbeat(1).step
        kill(try run.launcher(), SIGUSR1)
        try requirePreempted(run, experiment, ranks: 2, after: step)
    }

    /// Stopped and resumed, a run takes the steps that it would have taken.
    @Test func aStoppedRunGoesOnAsIfItHadNotBeen() throws {
        let experiment = try Experiment()
        let constant = "train.schedule={name: constant}"
        let run = try RunUnderWay(experiment, "stopped", ranks: 2, constant)
        try run.send(SIGUSR1, to: 0)
        #expect(try run.finish().exitCode == Configs.ExitStatus.preempted.rawValue)
        let steps = try RunStatus.read(from: experiment.directory("stopped").status).step + 10
        let resumed = try experiment.train("stopped", ranks: 2, constant, "train.steps=\(steps)", "--resume")
        #expect(resumed.exitCode == 0, "\(resumed.standardError)")
        let whole = try experiment.train("whole", ranks: 2, constant, "train.steps=\(steps)")
        #expect(whole.exitCode == 0, "\(whole.standardError)")
        #expect(try experiment.losses("stopped") == experiment.losses("whole"))
        let parameters = try ["stopped", "whole"].map { name in
            try Data(
                contentsOf: URL(
                    filePath: experiment.directory(name).checkpoints + "/step-\(steps)/model.safetensors"))
        }
        #expect(parameters[0] == parameters[1])
    }

    /// Behind the last step, and in the middle of a run.
    @Test(arguments: [1, 2])
    func anEvaluationUnderWayIsLeftToTheResumedRun(steps: Int) throws {
        let experiment = try Experiment(characters: 1_500_000)
        let settings = [
            "train.schedule={name: constant}", "train.evaluate_every=1", "data.validation_fraction=0.5",
            "train.keep_best=true", "train.steps=\(steps)",
        ]
        let run = try RunUnderWay(
            experiment, "stopped", ranks: 2, until: { $0.activity == .evaluation }, settings)
        try run.send(SIGUSR1, to: 0)
        try run.send(SIGUSR1, to: 1)
        let stopped = try run.finish()
        #expect(stopped.exitCode == Configs.ExitStatus.preempted.rawValue, "\(stopped.standardError)")
        let directory = try experiment.directory("stopped")
        #expect(try RunStatus.read(from: directory.status).step == 1)
        #expect(try evaluations(directory).isEmpty)

        let resumed = try experiment.train("stopped", ranks: 2, settings + ["--resume"])
        #expect(resumed.exitCode == 0, "\(resumed.standardError)")
        #expect(resumed.standardError.contains("its evaluation comes first"))
        let whole = try experiment.train("whole", ranks: 2, settings)
        #expect(whole.exitCode == 0, "\(whole.standardError)")
        let losses = try evaluations(directory)
        #expect(losses.count == steps)
        #expect(try losses == evaluations(experiment.directory("whole")))
        #expect(try experiment.losses("stopped") == experiment.losses("whole"))
        #expect(FileManager.default.fileExists(atPath: directory.verification))
    }

    private func evaluations(_ run: RunDirectory) throws -> [Double?] {
        var reader = try EvaluationReader(path: run.evaluations)
        var losses: [Double?] = []
        while let record = try reader.next() { losses.append(record.validationLoss) }
        return losses
    }

    @Test func aSecondInterruptEndsTheProcess() throws {
        let result = try mpirun(ranks: 1, program: "rank-programs", arguments: ["two-interrupts"])
        #expect(result.exitCode == 128 + SIGINT, "\(result.standardError)")
    }

    private func requirePreempted(
        _ run: RunUnderWay, _ experiment: Experiment, ranks: Int, after step: Int
    ) throws {
        let result = try run.finish()
        #expect(result.exitCode == Configs.ExitStatus.preempted.rawValue, "\(result.standardError)")
        #expect(result.standardError.components(separatedBy: "stopped by SIG").count == 2)
        let directory = try experiment.directory("run")
        let status = try RunStatus.read(from: directory.status)
        #expect(status.state == .preempted && status.exitCode == Configs.ExitStatus.preempted.rawValue)
        #expect(status.step >= step && status.message?.contains("--resume") == true)
        #expect(try experiment.samples("run").count == ranks * status.step)
        let latest = try String(contentsOfFile: "\(directory.checkpoints)/latest", encoding: .utf8)
        #expect(latest == "step-\(status.step)\n")
    }
}
