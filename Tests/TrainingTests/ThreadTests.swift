import Foundation
import Kernels
import Ledger
import TestSupport
import Testing

/// Whole runs with several threads a rank.
@Suite(.serialized) struct ThreadTests {
    /// With a CPU for each member of the team, the members stay there; what watches and saves goes where there is room.
    @Test func onlyTheTeamIsPinned() throws {
        let threads = Affinity.current.count
        let experiment = try Experiment()
        let run = try RunUnderWay(
            experiment, "run", ranks: 1,
            environment: ["OMPI_MCA_hwloc_base_binding_policy": "none"],
            "parallel.threads_per_rank=\(threads)", "train.checkpoint_every=1")
        let tasks = try "/proc/\(run.heartbeat(0).process)/task"
        var pinned: Set<Int> = []
        for _ in 0..<100 {
            let masks = try FileManager.default.contentsOfDirectory(atPath: tasks).compactMap { task in
                // A thread may end meanwhile.
                try? String(contentsOfFile: "\(tasks)/\(task)/status", encoding: .utf8)
                    .split(separator: "\n").first { $0.hasPrefix("Cpus_allowed_list:") }
            }
            pinned.insert(masks.count { !$0.contains { ",-".contains($0) } })
            usleep(2000)
        }
        try run.send(SIGUSR1, to: 0)
        _ = try run.finish()
        // A thread that has just been started may still be where the team's first member is.
        #expect(threads == 1 || pinned.min() == threads)
    }

    /// The number of threads changes who computes what, and not a bit of it: these products are too small to be split, so that
    /// the kernels of the matrix library are the same as well.
    @Test(
        arguments: [
            ["model.attention=stored"], ["model.dropout=0.2"],
            ["parallel.reproducible=true", "train.micro_batch=2"],
            ["precision.matmul=medium", "model.d_model=64", "model.num_heads=2"],
        ])
    func lossesDoNotDependOnTheNumberOfThreads(settings: [String]) throws {
        let experiment = try Experiment()
        var reference: [Double] = []
        for threads in 1...3 {
            let name = "threads-\(threads)"
            let result = try mpirun(
                ranks: 1, program: "lockstep",
                arguments: try experiment.arguments(
                    name, ["train.steps=30", "parallel.threads_per_rank=\(threads)"] + settings))
            try #require(result.exitCode == 0, "\(result.standardError)")
            let losses = try experiment.losses(name)
            #expect(losses.count == 30)
            if threads == 1 { reference = losses }
            #expect(losses == reference, "\(threads) threads")
        }
    }
}
