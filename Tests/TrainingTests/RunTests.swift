import Configs
import Foundation
import Kernels
import Ledger
import TestSupport
import Testing

let llama = [
    "model.norm_type=rms", "model.positions=rotary", "model.activation=silu", "model.gated=true",
    "model.biases=false", "model.num_kv_heads=1",
]

let encoder = [
    "model.family=encoder", "model.norm=post", "model.embedding_norm=true", "model.token_types=2",
    "model.head_transform=true", "model.dropout=0.1",
]

let encoderDecoder = [
    "model.family=encoder-decoder", "model.encoder_layers=1", "model.source_length=17",
    "data={task: reverse, generated: {samples: 400, max_length: 12}}", "train.label_smoothing=0.1",
]

/// Whole runs of the program, on one to four ranks.
@Suite(.serialized) struct RunTests {
    /// The number of ranks changes who computes what, and the order of sums, but not the run: data, dropout and
    /// updates are the same.
    @Test(arguments: [["train.seed=3"], ["model.dropout=0.2"], llama, encoder, encoderDecoder])
    func lossesDoNotDependOnTheNumberOfRanks(settings: [String]) throws {
        let experiment = try Experiment()
        var reference: [Double] = []
        for ranks in 1...4 {
            let name = "ranks-\(ranks)"
            let result = try mpirun(
                ranks: ranks, program: "lockstep",
                arguments: try experiment.arguments(
                    name, ["train.steps=50", "parallel.bucket_mib=1"] + settings), timeout: 120)
            try #require(result.exitCode == 0, "\(result.standardError)")
            let losses = try experiment.losses(name)
            #expect(losses.count == 50)
            if ranks == 1 {
                reference = losses
                #expect(losses[49] < 0.75 * losses[0], "it does not learn: \(losses[0]) to \(losses[49])")
            }
            let worst = zip(losses, reference).map { abs($0 - $1) / $1 }.max() ?? .infinity
            #expect(worst < 1e-4, "\(ranks) ranks differ from 1 by \(worst)")
        }
    }

    /// Parameters, FLOPs, every arena and the traffic of every rank and step are what was estimated, exactly.
    @Test(
        arguments: [
            ["train.optimizer={name: sgd, learning_rate: 0.01}"],
            ["train.optimizer={name: sgd, learning_rate: 0.01, momentum: 0.9, nesterov: true}"],
            ["train.optimizer={name: adam, learning_rate: 0.001}", "model.attention=stored"],
            ["train.optimizer={name: rmsprop, learning_rate: 0.001}", "model.tie_embeddings=false"],
            [
                "train.optimizer={name: rmsprop, learning_rate: 0.001, momentum: 0.5}",
                "parallel.overlap=false",
            ],
            ["train.optimizer={name: adagrad, learning_rate: 0.01}", "model.activation=gelu_erf"],
            ["model.attention=stored", "model.dropout=0.1", "train.global_batch=24", "train.micro_batch=2"],
            ["model.dropout=0.1", "train.micro_batch=auto", "model.activation=relu"],
            ["model.context_length=70", "model.dropout=0.1", "parallel.threads_per_rank=2"],
            [
                "parallel.optimizer_sharding=true", "parallel.reduction=hierarchical",
                "train.checkpoint_every=2",
            ],
            ["train.checkpoint_every=4"],
            llama,
            llama + ["model.attention=stored", "model.norm=post", "model.dropout=0.1"],
            llama + [
                "precision.matmul=medium", "model.d_model=64", "model.num_heads=2",
                "parallel.threads_per_rank=2",
            ],
            encoder,
            encoder + ["model.attention=stored", "model.context_length=70", "parallel.threads_per_rank=2"],
            encoder + ["precision.matmul=medium", "model.d_model=64", "model.num_heads=2"],
            ["model.norm=post", "model.positions=sinusoidal", "model.activation=relu"],
            [
                "data.task=reverse", "data.path=''", "data.generated.max_length=9",
                "data.generated.samples=300",
            ],
            ["data.task=uniform", "data.path=''", "data.generated.characters=5000"],
            encoderDecoder + ["model.dropout=0.1", "parallel.optimizer_sharding=true"],
            encoderDecoder + ["model.attention=stored", "model.norm=post", "model.share_embeddings=false"],
            encoderDecoder + [
                "precision.matmul=medium", "model.d_model=64", "model.num_heads=2",
                "model.source_length=70", "parallel.threads_per_rank=2",
            ],
            ["precision.matmul=medium", "model.d_model=64", "model.num_heads=2"],
            [
                "precision.matmul=medium", "model.d_model=64", "model.num_heads=2",
                "parallel.threads_per_rank=2",
            ],
            [
                "precision.matmul=high", "model.d_model=64", "model.num_heads=2",
                "parallel.threads_per_rank=2",
            ],
            [
                "parallel.optimizer_sharding=true", "parallel.reduction=ring", "parallel.overlap=false",
                "train.optimizer={name: sgd, learning_rate: 0.01, momentum: 0.9}",
            ],
        ], [1, 2, 3, 4])
    func costsWhatWasEstimated(settings: [String], ranks: Int) throws {
        let experiment = try Experiment()
        let result = try mpirun(
            ranks: ranks, program: "lockstep",
            arguments: try experiment.arguments("run", settings), timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let verification = try Verification(of: experiment.directory("run"))
        let exact = verification.results.filter { $0.tolerance == 0 }
        #expect(
            Set(exact.map(\.term)) == [
                "parameters", "flops.matmul_per_step", "memory.parameters", "memory.gradients",
                "memory.optimizer", "memory.activations", "memory.workspace", "memory.communication",
                "memory.data", "traffic.bytes_per_step",
            ])
        #expect(exact.count == 10 * ranks)
        for term in exact {
            #expect(
                term.estimated == term.measured && term.within == true && (term.measured ?? 0) >= 0,
                "\(term.term), rank \(term.rank): \(term.estimated ?? -1), \(term.measured ?? -1)")
        }
        let written = try JSONFile.read(Verification.self, from: experiment.directory("run").verification)
        #expect(written == verification)
    }

    /// `high` executes three products in bf16, or one in fp32; either is estimated as it is.
    @Test(arguments: ["", "emulated", "avx512fma", "avx512bf16"])
    func highExecutesWhatWasEstimated(instructions: String) throws {
        let experiment = try Experiment()
        func flops(_ name: String, _ settings: [String], _ instructions: String) throws -> Double {
            let result = try mpirun(
                ranks: 2, program: "lockstep",
                arguments: try experiment.arguments(
                    name, settings + ["model.d_model=64", "model.num_heads=2", "train.steps=2"]),
                environment: ["LOCKSTEP_ISA": instructions], timeout: 120)
            try #require(result.exitCode == 0, "\(result.standardError)")
            let results = try Verification(of: experiment.directory(name)).results
            #expect(results.filter { $0.tolerance == 0 }.allSatisfy { $0.within == true }, "\(name)")
            return try #require(results.first { $0.term == "flops.matmul_per_step" }?.measured)
        }
        let one = try flops("highest", [], "")
        let high = try flops("high", ["precision.matmul=high"], instructions)
        let support = try TileSupport.here(environment: ["LOCKSTEP_ISA": instructions]).instructions
        let isThree = support == .amx || (support != .avx512fma && support.rawValue == instructions)
        // Small products stay in fp32.
        #expect(isThree ? high > 2 * one : high == one, "\(support)")
    }

    /// Lines as padded sequences: the same losses at every number of ranks, and at the cost that was estimated.
    @Test(arguments: [[], llama, encoder])
    func documentsArePadded(settings: [String]) throws {
        let experiment = try Experiment()
        let lines = (0..<200).map { String(repeating: "line \($0) and more ", count: $0 % 3) + "the end\n" }
        let path = try experiment.write(lines.joined().utf8, to: "lines.txt")
        var evaluations: [Double] = []
        for ranks in [1, 2, 3] {
            let name = "ranks-\(ranks)"
            let result = try mpirun(
                ranks: ranks, program: "lockstep",
                arguments: try experiment.arguments(
                    name, ["data.path=\(path)", "data.packing=documents", "train.steps=20"] + settings),
                timeout: 120)
            try #require(result.exitCode == 0, "\(result.standardError)")
            let exact = try Verification(of: experiment.directory(name)).results.filter { $0.tolerance == 0 }
            #expect(exact.count == 10 * ranks && exact.allSatisfy { $0.within == true })
            // Padding is no target.
            let samples = try experiment.samples(name).filter { $0.step == 1 }
            #expect(samples.reduce(0) { $0 + $1.tokens } < 12 * 21)
            evaluations.append(try #require(try experiment.evaluations(name)[20] ?? nil))
        }
        for evaluation in evaluations {
            #expect(abs(evaluation - evaluations[0]) < 1e-4 * evaluations[0])
        }
    }

    /// A reproducible run has gradients of its own for each level of the tree, at 6 and at 12 micro-batches.
    @Test(
        arguments: [["train.checkpoint_every=2"], ["train.micro_batch=auto", "train.global_batch=24"]],
        [1, 2, 4])
    func aReproducibleRunCostsWhatWasEstimated(settings: [String], ranks: Int) throws {
        try costsWhatWasEstimated(settings: ["parallel.reproducible=true"] + settings, ranks: ranks)
    }

    /// ZeRO-1 halves the optimizer's state and changes nothing else, whatever the groups of weight decay.
    @Test func aShardedOptimizerTakesTheSameSteps() throws {
        let experiment = try Experiment()
        for (name, sharding) in [("whole", "false"), ("sharded", "true")] {
            let result = try experiment.train(
                name, ranks: 2, "train.steps=50", "parallel.optimizer_sharding=\(sharding)",
                "train.optimizer.embedding_weight_decay=0.4", "train.optimizer.bias_weight_decay=0.3",
                "train.optimizer.norm_weight_decay=0.2")
            try #require(result.exitCode == 0, "\(result.standardError)")
        }
        let (whole, sharded) = try (experiment.losses("whole"), experiment.losses("sharded"))
        let worst = zip(whole, sharded).map { abs($0 - $1) / $0 }.max() ?? .infinity
        #expect(whole.count == 50 && sharded.count == 50 && worst < 1e-6, "losses differ by \(worst)")
        let state = try ["whole", "sharded"].map { try experiment.samples($0).map(\.bytes.optimizer) }
        #expect(Set(state[0]).count == 1 && Set(state[1]).count == 1 && state[0][0] == 2 * state[1][0])
    }

    @Test func aFinishedRunIsEvaluatedAndContinuesText() throws {
        let experiment = try Experiment()
        let trained = try experiment.train("run", ranks: 2, "train.evaluate_every=3")
        try #require(trained.exitCode == 0, "\(trained.standardError)")
        let run = try experiment.directory("run")
        var reader = try EvaluationReader(path: run.evaluations)
        var evaluations: [EvaluationRecord] = []
        while let record = try reader.next() { evaluations.append(record) }
        #expect(evaluations.map(\.step) == [3, 6])
        let last = try #require(evaluations.last?.validationLoss)

        let status = try RunStatus.read(from: run.status)
        #expect(status.state == .completed && status.step == 6 && status.exitCode == 0)
        #expect(status.validationLoss == last)

        let evaluated = try mpirun(
            ranks: 3, program: "lockstep", arguments: ["evaluate", run.path, "--json"])
        let answer = try #require(
            JSONSerialization.jsonObject(with: Data(evaluated.standardOutput.utf8)) as? [String: Any])
        #expect(abs((answer["validation_loss"] as? Double ?? 0) - last) < 1e-5)
        #expect(answer["tokens"] as? Int == evaluations.last?.tokens)

        let program = try builtProduct("lockstep")
        let arguments = ["generate", run.path, "--prompt", "in the", "--tokens", "60", "--temperature", "1"]
        let text = try TestSupport.run(program, arguments + ["--seed", "5"])
        #expect(text.exitCode == 0 && text.standardOutput.hasPrefix("in the"), "\(text.standardError)")
        #expect(
            try TestSupport.run(program, arguments + ["--seed", "5"]).standardOutput == text.standardOutput)
        #expect(
            try TestSupport.run(program, arguments + ["--seed", "6"]).standardOutput != text.standardOutput)
        let greedy = try TestSupport.run(
            program, ["generate", run.path, "--prompt", "in the", "--tokens", "30"])
        #expect(greedy.standardOutput.utf8.count == "in the".utf8.count + 30 + 1)
    }

    /// Of an encoder, what is masked in the validation split is the same at every evaluation and number of ranks.
    @Test func anEncoderIsEvaluatedButDoesNotContinueText() throws {
        let experiment = try Experiment()
        let result = try mpirun(
            ranks: 2, program: "lockstep",
            arguments: try experiment.arguments("run", encoder + ["train.evaluate_every=3"]), timeout: 120)
        try #require(result.exitCode == 0, "\(result.standardError)")
        let run = try experiment.directory("run")
        let last = try #require(try RunStatus.read(from: run.status).validationLoss)
        for ranks in [1, 3] {
            let evaluated = try mpirun(
                ranks: ranks, program: "lockstep", arguments: ["evaluate", run.path, "--json"])
            let answer = try #require(
                JSONSerialization.jsonObject(with: Data(evaluated.standardOutput.utf8)) as? [String: Any])
            #expect(abs((answer["validation_loss"] as? Double ?? 0) - last) < 1e-5)
        }
        let text = try TestSupport.run(
            try builtProduct("lockstep"), ["generate", run.path, "--prompt", "in the"])
        #expect(text.exitCode == Configs.ExitStatus.usage.rawValue)
        #expect(text.standardError.contains("family encoder") && text.standardOutput.isEmpty)
    }

    /// Pairs of a file: the run goes on after a stop, is evaluated on any number of ranks, and makes targets of sources.
    @Test func anEncoderAndADecoderLearnPairs() throws {
        let experiment = try Experiment()
        let lines = (0..<240).map { number in
            let word = String("lockstep".dropFirst(number % 5).prefix(1 + number / 5 % 4)) + "\(number % 10)"
            return "\(word)\t\(word.uppercased())!\n"
        }
        let path = try experiment.write(lines.joined().utf8, to: "pairs.tsv")
        let settings = [
            "model.family=encoder-decoder", "model.source_length=8", "model.context_length=9",
            "data={task: pairs, path: \(path), validation_fraction: 0.1}", "train.evaluate_every=20",
            "train.checkpoint_every=20", "train.optimizer.learning_rate=5e-3",
            "train.schedule={name: constant, warmup_steps: 10}",
        ]
        func train(_ name: String, ranks: Int, _ more: [String]) throws {
            let result = try mpirun(
                ranks: ranks, program: "lockstep",
                arguments: try experiment.arguments(name, settings + more), timeout: 120)
            try #require(result.exitCode == 0, "\(result.standardError)")
        }
        try train("whole", ranks: 2, ["train.steps=300"])
        try train("parts", ranks: 2, ["train.steps=60"])
        try experiment.interrupt("parts", behind: 40)
        try train("parts", ranks: 1, ["train.steps=60", "--resume"])
        let (whole, parts) = (try experiment.losses("whole"), try experiment.losses("parts"))
        #expect(whole.count == 300 && parts.count == 60 && whole[299] < 0.1)
        #expect(zip(whole, parts).allSatisfy { abs($0 - $1) < 1e-3 * max($0, 0.1) })

        let run = try experiment.directory("whole")
        let last = try #require(try RunStatus.read(from: run.status).validationLoss)
        for ranks in [1, 3] {
            let evaluated = try mpirun(
                ranks: ranks, program: "lockstep", arguments: ["evaluate", run.path, "--json"])
            let answer = try #require(
                JSONSerialization.jsonObject(with: Data(evaluated.standardOutput.utf8)) as? [String: Any])
            #expect(abs((answer["validation_loss"] as? Double ?? 0) - last) < 1e-5)
        }
        let program = try builtProduct("lockstep")
        for more in [[], ["--beams", "3"], ["--temperature", "0.01"]] {
            let made = try TestSupport.run(program, ["generate", run.path, "--prompt", "step9"] + more)
            #expect(made.standardOutput == "STEP9!\n", "\(made.standardOutput) \(made.standardError)")
        }
        let long = try TestSupport.run(program, ["generate", run.path, "--prompt", "lockstep"])
        #expect(long.exitCode == Configs.ExitStatus.usage.rawValue)
        #expect(long.standardError.contains("at most 7"))
    }

    @Test(arguments: 1...3)
    func aLossThatIsNoNumberEndsTheRun(ranks: Int) throws {
        let experiment = try Experiment()
        let result = try experiment.train(
            "run", ranks: ranks, "train.optimizer.learning_rate=1e30", "train.schedule.warmup_steps=0")
        #expect(result.exitCode == Configs.ExitStatus.nonFinite.rawValue)
        #expect(result.standardError.components(separatedBy: "lockstep: error:").count == 2)
        #expect(result.standardError.contains("learning_rate"))
        let status = try RunStatus.read(from: experiment.directory("run").status)
        #expect(status.state == .failed && status.exitCode == Configs.ExitStatus.nonFinite.rawValue)
        #expect(try experiment.samples("run").count == ranks * status.step)
    }
}
