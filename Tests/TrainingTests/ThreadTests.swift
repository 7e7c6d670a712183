import Foundation
import TestSupport
import Testing

/// Whole runs with several threads a rank.
@Suite(.serialized) struct ThreadTests {
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
