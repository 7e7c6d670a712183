import Cost
import CostTestSupport
import Foundation
import Ledger
import TestSupport
import Testing

/// Runs with a profile, which is that of no machine; so that nothing here judges what depends on it.
@Suite(.serialized) struct CalibratedRunTests {
    private let experiment: Experiment

    init() throws { experiment = try Experiment() }

    private func train(_ profile: Profile, ranks: Int, threads: Int = 1) throws -> CommandResult {
        let path = "\(experiment.folder)/profile.json"
        try ProfileFile.write(profile, to: path)
        return try mpirun(
            ranks: ranks, program: "lockstep",
            arguments: experiment.arguments(
                "run",
                ["--profile", path, "train.evaluate_every=3", "parallel.threads_per_rank=\(threads)"]))
    }

    @Test(arguments: 1...2) func itsTimesAreComparedAtTheSpeedOfTheMachine(ranks: Int) throws {
        let result = try train(.example(), ranks: ranks)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let run = try experiment.directory("run")
        let speeds = try RunSpeed.read(from: run.speed).ranks
        #expect(speeds.count == ranks && speeds.allSatisfy { $0.handoverBytesPerSecond == nil })
        let hosts = try JSONFile.read(RunMemory.self, from: run.memory).hosts
        #expect(hosts.map(\.ranks) == [ranks] && hosts[0].bytes > 1 << 20)
        var checkpoints = try CheckpointReader(path: run.checkpointLog)
        let saved = try #require(try checkpoints.next())
        let folder = "\(run.checkpoints)/step-6"
        let sizes = try FileManager.default.contentsOfDirectory(atPath: folder).map {
            try #require(
                try FileManager.default.attributesOfItem(atPath: "\(folder)/\($0)")[.size] as? Int)
        }
        #expect(saved.step == 6 && saved.bytes == sizes.reduce(0, +) && saved.seconds > 0)

        let verification = try Verification(of: run)
        let estimate = try JSONFile.read(Estimate.self, from: run.estimate)
        let ratios = try Self.ratios(experiment.samples("run"), estimate)
        #expect(ratios.count == 5)
        let times = verification.results.filter { $0.unit == "s" && $0.estimated != nil }
        #expect(
            Set(times.map(\.term)).isSuperset(of: [
                "time.forward", "time.backward", "time.reduce", "time.optimizer", "time.step",
                "time.evaluation",
                "time.checkpoint",
            ]))
        #expect(times.allSatisfy { $0.estimatedAtSpeed != nil && ($0.measured ?? -1) >= 0 })
        let step = try #require(times.first { $0.term == "time.step" && $0.rank == 0 })
        let steady = ratios.sorted()
        #expect(abs((step.relativeErrorAtSpeed ?? 9) + 1 - steady[steady.count / 2]) < 1e-9)

        let judged = try TestSupport.run(
            builtProduct("lockstep"),
            ["verify", run.path]
                + ["memory.peak", "memory.node", "time.reduction", "time.step"].flatMap {
                    ["--tolerance", "\($0)=none"]
                })
        #expect(judged.exitCode == 0, "\(judged.standardOutput)")
        #expect(judged.standardOutput.contains("note: speed since calibration: products "))
    }

    /// Of every step of rank 0 but the first, what it took over what the estimate comes to at the speeds that the ranks had
    /// in it.
    private static func ratios(_ samples: [StepSample], _ estimate: Estimate) throws -> [Double] {
        let steps = Dictionary(grouping: samples, by: \.step).mapValues { $0.sorted { $0.rank < $1.rank } }
        var speeds = StepSpeeds()
        for (step, ranks) in steps.sorted(by: { $0.key < $1.key }) where step > 1 {
            let sampled = try ranks.map { try ReferenceSpeed(#require($0.speed)) }
            let expected = estimate.atSpeed(sampled).map(\.time)
            speeds.add(step, sampled, compute: zip(ranks, expected).map(StepSpeeds.compute))
        }
        var ratios: [Double] = []
        speeds.forEach { step, speeds in
            let seconds = steps[step]?.first?.seconds.total ?? .nan
            ratios.append(seconds / (estimate.atSpeed(speeds)[0].time.step ?? .nan))
        }
        return ratios
    }

    @Test func whatThreadsHandOverIsMetered() throws {
        let result = try train(.uniform(layouts: [(1, 1), (1, 2)]), ranks: 1, threads: 2)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let run = try experiment.directory("run")
        #expect(try RunSpeed.read(from: run.speed).ranks.allSatisfy { ($0.handoverBytesPerSecond ?? 0) > 0 })
        let samples = try experiment.samples("run")
        #expect(samples.count == 6)
        #expect(samples.allSatisfy { ($0.speed?.handoverBytesPerSecond ?? 0) > 0 })
    }

    @Test func withoutAProfileThereIsNothingToCompareTheSpeedWith() throws {
        let result = try experiment.train("run", ranks: 1, "--no-profile")
        try #require(result.exitCode == 0, "\(result.standardError)")
        let run = try experiment.directory("run")
        #expect(!FileManager.default.fileExists(atPath: run.speed))
        #expect(try JSONFile.read(RunMemory.self, from: run.memory).hosts.count == 1)
        #expect(try Verification(of: run).results.allSatisfy { $0.estimatedAtSpeed == nil })
        #expect(try experiment.samples("run").allSatisfy { $0.speed == nil })
    }

    /// What ranks take beside their arenas counts, too.
    @Test func theKnownPeakHasToFit() throws {
        var profile = Profile.example()
        for index in profile.layouts.indices { profile.layouts[index].memory.anonymous = 1 << 46 }
        let result = try train(profile, ranks: 2)
        #expect(result.exitCode == 78)
        #expect(
            result.standardError.contains("2 ranks need 128 TiB (64.0 TiB each)"), "\(result.standardError)")
        #expect(result.standardError.contains(" helps most"), "\(result.standardError)")
        #expect(!experiment.run("run").exists)
    }
}
