import Foundation
import TestSupport
import Testing

/// Whole runs with several threads a rank.
@Suite(.serialized) struct ThreadTests {
    /// The number of threads changes who computes what, and not a bit of it: these products are too small to be split, so that
    /// the kernels of the matrix library are the same as well.
    @Test(arguments: ["model.attention=stored", "model.dropout=0.2"])
    func lossesDoNotDependOnTheNumberOfThreads(setting: String) throws {
        let experiment = try Experiment()
        var reference: [Double] = []
        for threads in 1...3 {
            let name = "threads-\(threads)"
            let result = try experiment.train(
                name, ranks: 1, "train.steps=30", "parallel.threads_per_rank=\(threads)", setting)
            try #require(result.exitCode == 0, "\(result.standardError)")
            let losses = try experiment.losses(name)
            #expect(losses.count == 30)
            if threads == 1 { reference = losses }
            #expect(losses == reference, "\(threads) threads")
        }
    }
}
