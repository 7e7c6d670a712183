import Foundation
import Ledger
import TestSupport
import Testing

/// How many pairs a model answers without a fault.
@Suite struct ExactMatchTests {
    /// A model that has half learned to copy: as many pairs are exact at every number of ranks, and as many are written by
    /// `generate`.
    @Test func asManyAreExactAsAreGenerated() throws {
        let experiment = try Experiment()
        let result = try mpirun(
            ranks: 2, program: "lockstep",
            arguments: try experiment.arguments(
                "run",
                [
                    "data.task=copy", "data.path=''", "data.generated.max_length=4",
                    "data.generated.symbols=8",
                    "data.generated.samples=600", "train.steps=120", "train.evaluate_every=60",
                    "train.micro_batch=auto", "train.global_batch=48",
                ]), timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
        #expect(result.standardError.contains("exact match"))
        let run = try experiment.directory("run")
        var reader = try EvaluationReader(path: run.evaluations)
        var matches: [ExactMatch] = []
        while let record = try reader.next() { matches.append(try #require(record.exactMatch)) }
        let last = try #require(matches.last)
        #expect(matches.count == 2 && last.pairs == 60 && matches[0].pairs == 60)
        try #require((1..<60).contains(last.exact), "\(last.exact) of 60 exact pairs prove nothing")

        for ranks in [1, 3] {
            let evaluated = try mpirun(
                ranks: ranks, program: "lockstep", arguments: ["evaluate", run.path, "--json"])
            let answer = try #require(
                JSONSerialization.jsonObject(with: Data(evaluated.standardOutput.utf8)) as? [String: Any])
            let match = try #require(answer["exact_match"] as? [String: Any])
            #expect(match["pairs"] as? Int == 60 && match["exact"] as? Int == last.exact)
        }

        // Source, tab, target and newline, as 16-bit tokens behind a header.
        let shard = try Data(contentsOf: URL(filePath: "\(run.data)/validation.bin")).dropFirst(1024)
        let text = String(
            decoding: shard.enumerated().filter { $0.offset % 2 == 0 }.map(\.element), as: UTF8.self)
        let sources = text.split(separator: "\n").map { $0.prefix { $0 != "\t" } }
        let generated = try TestSupport.run(
            try builtProduct("lockstep"),
            ["generate", run.path, "--tokens", "6", "--stop", "\n"]
                + sources.flatMap { ["--prompt", "\($0)\t"] })
        #expect(generated.exitCode == 0, "\(generated.standardError)")
        let answers = generated.standardOutput.split(separator: "\n", omittingEmptySubsequences: false)
        let right = zip(sources, answers).count { source, answer in answer == "\(source)\t\(source)" }
        #expect(sources.count == 60 && right == last.exact)
    }
}
