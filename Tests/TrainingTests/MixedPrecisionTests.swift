import Configs
import Foundation
import Ledger
import TestSupport
import Testing
import Training

/// Runs whose activations are kept in 16 bits.
@Suite(.serialized) struct MixedPrecisionTests {
    private func train(_ experiment: Experiment, _ name: String, ranks: Int, _ settings: [String]) throws {
        let result = try mpirun(
            ranks: ranks, program: "lockstep", arguments: experiment.arguments(name, settings), timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
    }

    /// Means of twenty steps each, so that what single batches do does not matter.
    private func curve(_ experiment: Experiment, _ name: String) throws -> [Double] {
        let losses = try experiment.losses(name)
        return stride(from: 0, to: losses.count, by: 20).map { losses[$0..<$0 + 20].reduce(0, +) / 20 }
    }

    /// Within a percent of fp32's loss all along, and of its validation loss; at a lower cost of activations.
    @Test(arguments: [[], ["model.attention=stored", "model.dropout=0.1"]])
    func theLossIsThatOfFP32(settings: [String]) throws {
        let experiment = try Experiment()
        for format in ["fp32", "bf16", "fp16"] {
            try train(
                experiment, format, ranks: 2,
                ["precision.activations=\(format)", "train.steps=400"] + settings)
        }
        let full = try curve(experiment, "fp32")
        #expect(full.count == 20 && full[19] < 0.5 * full[0], "it does not learn: \(full)")
        let validation = try #require(try experiment.evaluations("fp32")[400] ?? nil)
        let activations = try #require(try experiment.samples("fp32").first).bytes.activations
        for format in ["bf16", "fp16"] {
            for (half, full) in zip(try curve(experiment, format), full) {
                #expect(abs(half / full - 1) < 0.01, "\(format): \(half) instead of \(full)")
            }
            let other = try #require(try experiment.evaluations(format)[400] ?? nil)
            #expect(abs(other / validation - 1) < 0.01, "\(format): \(other) instead of \(validation)")
            let samples = try experiment.samples(format)
            #expect(samples.allSatisfy { !$0.isSkipped })
            #expect(Double(samples[0].bytes.activations) < 0.53 * Double(activations))
            #expect(try experiment.losses(format) != experiment.losses("fp32"))
        }
    }

    /// Every kind of model, with more tokens in a micro-batch than a block of rows has, and with fewer.
    @Test(
        arguments: [
            ["precision.activations=bf16", "train.micro_batch=auto", "train.global_batch=48"],
            llama + [
                "precision.activations=bf16", "model.attention=stored", "model.dropout=0.1",
                "parallel.threads_per_rank=2",
            ],
            encoder + [
                "precision.activations=bf16", "precision.matmul=medium", "model.d_model=64",
                "model.num_heads=2", "model.context_length=70", "train.micro_batch=auto",
                "train.global_batch=24",
            ],
            encoderDecoder + ["precision.activations=bf16", "model.dropout=0.1"],
            [
                "precision.activations=fp16", "parallel.optimizer_sharding=true", "model.context_length=70",
                "train.micro_batch=auto", "train.global_batch=12",
            ],
        ], 1...4)
    func costsWhatWasEstimated(settings: [String], ranks: Int) throws {
        try RunTests().costsWhatWasEstimated(settings: settings, ranks: ranks)
    }

    /// What is rounded on the way differs by the order of sums of gradients only.
    @Test(arguments: ["bf16", "fp16"]) func lossesDoNotDependOnTheNumberOfRanks(format: String) throws {
        let experiment = try Experiment()
        for ranks in 1...3 {
            try train(
                experiment, "\(ranks)", ranks: ranks, ["precision.activations=\(format)", "train.steps=50"])
        }
        let reference = try experiment.losses("1")
        for ranks in 2...3 {
            let worst = zip(try experiment.losses("\(ranks)"), reference).map { abs($0 / $1 - 1) }.max()
            #expect((worst ?? 1) < 1e-3, "\(ranks) ranks differ from 1 by \(worst ?? 1)")
        }
    }

    /// To the bit, at every number of ranks, and so that `evaluate` finds the validation loss again.
    @Test(arguments: ["bf16", "fp16"]) func aReproducibleRunIsOne(format: String) throws {
        let experiment = try Experiment()
        let settings = ["precision.activations=\(format)", "parallel.reproducible=true", "model.dropout=0.1"]
        for ranks in [1, 2, 4] { try train(experiment, "\(ranks)", ranks: ranks, settings) }
        let reference = try experiment.losses("1")
        for ranks in [2, 4] { #expect(try experiment.losses("\(ranks)") == reference) }
        let run = try experiment.directory("2")
        let last = try #require(try RunStatus.read(from: run.status).validationLoss)
        let evaluated = try mpirun(
            ranks: 1, program: "lockstep", arguments: ["evaluate", run.path, "--json"])
        let answer = try #require(
            JSONSerialization.jsonObject(with: Data(evaluated.standardOutput.utf8)) as? [String: Any])
        #expect(abs((answer["validation_loss"] as? Double ?? 0) - last) < 1e-6)
    }

    // MARK: Loss scaling

    @Test func theScaleGrowsAndBacksOff() throws {
        var scale = LossScale()
        #expect(scale.scale == 65_536)
        for _ in 1..<2000 { scale.grow() }
        #expect(scale == LossScale(65_536, goodSteps: 1999))
        scale.grow()
        #expect(scale == LossScale(131_072))
        scale.grow()
        var isLess = scale.backOff()
        #expect(isLess && scale == LossScale(65_536))
        for power in (0..<16).reversed() {
            isLess = scale.backOff()
            #expect(isLess && scale == LossScale(scalbn(Float(1), power)))
        }
        isLess = scale.backOff()
        #expect(!isLess && scale == LossScale(1))
        var largest = LossScale(0x1p127, goodSteps: 1999)
        largest.grow()
        #expect(largest == LossScale(0x1p127))
        let copy = try JSONDecoder().decode(LossScale.self, from: JSONEncoder().encode(scale))
        #expect(copy == scale)
    }

    @Test(arguments: 1...3) func gradientsThatOverflowHalveTheScale(ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: ["loss-scale"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    /// However many there are, the steps are skipped, counted, and no reason to end the run.
    @Test(arguments: [1, 2]) func skippedStepsAreCounted(ranks: Int) throws {
        let experiment = try Experiment()
        _ = try experiment.arguments("run", [])
        let run = "\(experiment.folder)/high"
        let result = try mpirun(
            ranks: ranks, program: "rank-programs",
            arguments: [
                "high-loss-scale", "\(experiment.folder)/run.yaml", run, "train.steps=60",
                "train.checkpoint_every=30", "precision.activations=fp16",
            ])
        #expect(result.exitCode == 0, "\(result.standardError)")
        let directory = try RunDirectory(existing: run)
        var reader = try LedgerReader(path: directory.ledger)
        var samples: [StepSample] = []
        while let line = try reader.next() { samples.append(line.sample) }
        let skipped = samples.filter { $0.rank == 0 && $0.isSkipped }.map(\.step)
        // The first ones, and where gradients grow beyond a scale that was just low enough.
        #expect(skipped.count > 4 && skipped.starts(with: 1...5), "\(skipped)")
        #expect(samples.count { $0.isSkipped } == ranks * skipped.count && samples.count == 60 * ranks)
        #expect(try RunStatus.read(from: directory.status).skippedSteps == skipped.count)
        let scale = scalbn(Float(1), 40 - skipped.count)
        #expect(
            try lossScale(inCheckpoint: 60, of: directory)
                == LossScale(scale, goodSteps: 60 - (skipped.last ?? 0)))
        let losses = samples.filter { $0.rank == 0 }.map(\.loss)
        #expect(losses[59] < 0.8 * losses[0])
    }

    /// To the bit, with the scale that it had.
    @Test(arguments: [1, 2]) func aResumedRunHasItsScale(ranks: Int) throws {
        let experiment = try Experiment()
        let settings = [
            "precision.activations=fp16", "train.steps=12", "train.checkpoint_every=4", "model.dropout=0.2",
        ]
        try train(experiment, "run", ranks: ranks, settings)
        let (files, losses) = try (experiment.checkpoint("run", 12), experiment.losses("run"))
        try experiment.interrupt("run", behind: 8)
        let directory = try experiment.directory("run")
        #expect(try lossScale(inCheckpoint: 8, of: directory) == LossScale(65_536, goodSteps: 8))
        let other = try mpirun(
            ranks: ranks, program: "lockstep",
            arguments: experiment.arguments(
                "run", settings + ["precision.activations=bf16", "--resume"]))
        #expect(other.exitCode == Configs.ExitStatus.badConfiguration.rawValue)
        #expect(other.standardError.contains("precision.activations is bf16"), "\(other.standardError)")
        try train(experiment, "run", ranks: ranks, settings + ["--resume"])
        for (name, content) in try experiment.checkpoint("run", 12) where name.hasSuffix(".safetensors") {
            #expect(content == files[name], "\(name) differs")
        }
        #expect(try experiment.losses("run") == losses)
        #expect(try lossScale(inCheckpoint: 12, of: directory) == LossScale(65_536, goodSteps: 12))
    }

    /// At another number of ranks, too.
    @Test func theScaleGoesOnAtAnotherNumberOfRanks() throws {
        let experiment = try Experiment()
        let settings = ["precision.activations=fp16", "train.steps=12", "train.checkpoint_every=4"]
        try train(experiment, "run", ranks: 3, settings)
        let losses = try experiment.losses("run")
        try experiment.interrupt("run", behind: 8)
        try train(experiment, "run", ranks: 2, settings + ["--resume"])
        #expect(zip(try experiment.losses("run"), losses).allSatisfy { abs($0 / $1 - 1) < 1e-3 })
        let directory = try experiment.directory("run")
        #expect(try lossScale(inCheckpoint: 12, of: directory) == LossScale(65_536, goodSteps: 12))
    }

    private func lossScale(inCheckpoint step: Int, of run: RunDirectory) throws -> LossScale? {
        struct State: Decodable {
            let lossScale: LossScale?

            enum CodingKeys: String, CodingKey { case lossScale = "loss_scale" }
        }
        let text = try Data(contentsOf: URL(filePath: "\(run.checkpoints)/step-\(step)/state.json"))
        return try JSONDecoder().decode(State.self, from: text).lossScale
    }
}
