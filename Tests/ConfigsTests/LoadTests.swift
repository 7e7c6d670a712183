import Configs
import Foundation
import Testing

private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

@Suite struct LoadTests {
    @Test func requiredKeysSufficeAndTheRestHasDefaults() throws {
        let config = try parse()
        var expected = RunConfig(
            name: "small",
            model: ModelConfig(
                numLayers: 1, dModel: 6, numHeads: 2, dFF: 8, contextLength: 4, vocabSize: 300),
            data: DataConfig(path: "text.txt"),
            train: TrainConfig(steps: 10, globalBatch: 12, optimizer: OptimizerConfig(learningRate: 0.5)))
        #expect(config == expected)
        #expect(config.model.attention == .recomputed && config.model.dropout == 0)
        #expect(config.model.tieEmbeddings && config.train.optimizer.epsilon == 1e-8)
        #expect(config.train.clipNorm == 1 && config.train.seed == 1 && config.train.microBatch == .auto)
        #expect(config.train.optimizer.name == .adamw && config.train.optimizer.betas == [0.9, 0.95])
        #expect(config.parallel.threadsPerRank == 1 && config.parallel.bucketMib == .auto)
        #expect(config.parallel.overlap && !config.parallel.reproducible)
        #expect(config.parallel.reduction == .auto && !config.parallel.optimizerSharding)
        #expect(config.parallel.hangTimeout == 300 && config.parallel.replicaCheckEvery == 100)
        #expect(config.train.onNonFinite == .halt)
        expected.name = "other"
        #expect(config != expected)
    }

    @Test func everyKeyIsRead() throws {
        let config = try parse(
            """
            name: all-of.it_2
            model: {family: decoder, num_layers: 3, d_model: 8, num_heads: 4, d_ff: 5, context_length: 7,
                    vocab_size: 301, norm: post, activation: gelu_erf, tie_embeddings: false, dropout: 0.25,
                    attention: stored, num_kv_heads: 2, norm_type: rms, final_norm: true, norm_epsilon: 1e-6,
                    positions: rotary, rotary_base: 5e5, scale_embeddings: true, gated: true, biases: false,
                    token_types: 3, embedding_norm: true, head_transform: true}
            data: {path: "a b.txt", tokenizer: bytes, validation_fraction: 0.5, mask_token: 9}
            train: {steps: 9, global_batch: 6, micro_batch: 3, seed: 18446744073709551615, clip_norm: null,
                    mask_fraction: 0.3,
                    optimizer: {name: sgd, learning_rate: 1e-3, betas: [0, 0.5], epsilon: 1E-9, weight_decay: 2,
                                momentum: .5, nesterov: true, alpha: 0.1},
                    schedule: {name: linear, warmup_steps: 9, final_fraction: 1},
                    evaluate_every: 0, checkpoint_every: 3, keep_checkpoints: 4, keep_checkpoint_every: 30,
                    on_non_finite: skip}
            precision: {parameters: fp32, activations: fp32, matmul: highest}
            parallel: {threads_per_rank: 2, reduction: hierarchical, bucket_mib: 8, overlap: false,
                       optimizer_sharding: true, hang_timeout: 12.5, replica_check_every: 7, reproducible: false}
            """)
        #expect(config.name == "all-of.it_2" && config.data.path == "a b.txt")
        #expect(config.model.numLayers == 3 && config.model.dModel == 8 && config.model.numHeads == 4)
        #expect(config.model.dFF == 5 && config.model.contextLength == 7 && config.model.vocabSize == 301)
        #expect(config.model.activation == .geluErf && !config.model.tieEmbeddings)
        #expect(config.model.dropout == 0.25 && config.model.numKVHeads == 2)
        #expect(config.model.norm == .post && config.model.normType == .rms && config.model.finalNorm)
        #expect(config.model.normEpsilon == 1e-6 && config.model.positions == .rotary)
        #expect(config.model.rotaryBase == 500_000 && config.model.scaleEmbeddings)
        #expect(config.model.gated && !config.model.biases && config.model.tokenTypes == 3)
        #expect(config.model.embeddingNorm && config.model.headTransform)
        #expect(config.data.maskToken == 9 && config.train.maskFraction == 0.3)
        #expect(config.model.attention == .stored && config.data.validationFraction == 0.5)
        #expect(config.train.steps == 9 && config.train.globalBatch == 6 && config.train.seed == .max)
        #expect(config.train.microBatch == .sequences(3) && config.train.clipNorm == nil)
        let optimizer = config.train.optimizer
        #expect(optimizer.name == .sgd && optimizer.learningRate == 0.001 && optimizer.betas == [0, 0.5])
        #expect(optimizer.epsilon == 1e-9 && optimizer.weightDecay == 2 && optimizer.momentum == 0.5)
        #expect(optimizer.nesterov && optimizer.alpha == 0.1)
        #expect(config.train.schedule.name == .linear && config.train.schedule.warmupSteps == 9)
        #expect(config.train.schedule.finalFraction == 1)
        #expect(config.train.evaluateEvery == 0 && config.train.checkpointEvery == 3)
        #expect(config.train.keepCheckpoints == 4 && config.train.keepCheckpointEvery == 30)
        #expect(config.parallel.threadsPerRank == 2 && config.parallel.bucketMib == .mebibytes(8))
        #expect(!config.parallel.overlap && config.parallel.optimizerSharding)
        #expect(config.parallel.reduction == .hierarchical)
        #expect(config.parallel.hangTimeout == 12.5 && config.parallel.replicaCheckEvery == 7)
        #expect(config.train.onNonFinite == .skip)
        #expect(try parse(config.yaml()) == config)
    }

    @Test(arguments: [
        [], ["train.clip_norm=~"], ["train.optimizer.learning_rate=1.2345678901234567e-300"],
        ["data.path=\"a \\x26b: 'c' #\\\\ ü\\n\\e \\x2a d\""], ["name=null2", "data.path=\"null\""],
        ["train.optimizer={name: adagrad, learning_rate: 1}"], ["train.micro_batch=4", "model.dropout=0.1"],
    ])
    func yamlLoadsBackToAnEqualValue(overrides: [String]) throws {
        let config = try RunConfig.parse(minimal, source: "a.yaml", overrides: overrides)
        #expect(try parse(config.yaml()) == config)
    }

    @Test func epsilonFollowsTheOptimizer() throws {
        #expect(try parse().train.optimizer.epsilon == 1e-8)
        #expect(try parse(minimal, "train.optimizer.name=adagrad").train.optimizer.epsilon == 1e-10)
        #expect(OptimizerConfig(name: .adagrad, learningRate: 1).epsilon == 1e-10)
    }

    @Test func overridesWinOverTheFileAndTheLastOverEarlierOnes() throws {
        let config = try parse(
            minimal, "train.global_batch=2", "train.global_batch=4", "model.attention=stored",
            "train.optimizer={name: sgd, learning_rate: 3}", "train.schedule.warmup_steps=1",
            "train.optimizer.momentum=0.5", "data.path=a=b.txt")
        #expect(config.train.globalBatch == 4 && config.model.attention == .stored)
        #expect(config.train.optimizer.name == .sgd && config.train.optimizer.learningRate == 3)
        #expect(config.train.optimizer.momentum == 0.5 && config.train.schedule.warmupSteps == 1)
        #expect(config.data.path == "a=b.txt")
        let fromNothing = try parse(
            "", "name=n", "data.path=p", "train.steps=1", "train.global_batch=1",
            "train.optimizer.learning_rate=1",
            "model={num_layers: 1, d_model: 2, num_heads: 1, d_ff: 2, context_length: 1, vocab_size: 256}")
        #expect(fromNothing.model.dFF == 2)
    }

    @Test func anEncoderIsLikeItsDecoderByDefault() throws {
        let pairs = ["model.family=encoder-decoder", "data={task: copy}", "train.label_smoothing=0.1"]
        let like = try RunConfig.parse(minimal, source: "a.yaml", overrides: pairs)
        #expect(like.model.family == .encoderDecoder && like.train.labelSmoothing == 0.1)
        #expect(like.model.encoderLayers == 1 && like.model.sourceLength == 4 && like.model.shareEmbeddings)
        let own = try RunConfig.parse(
            minimal, source: "a.yaml",
            overrides: pairs + [
                "model.encoder_layers=3", "model.source_length=9", "model.share_embeddings=false",
            ])
        #expect(own.model.encoderLayers == 3 && own.model.sourceLength == 9 && !own.model.shareEmbeddings)
        for config in [like, own] { #expect(try parse(config.yaml()) == config) }
        #expect(try parse().model.encoderLayers == 0 && parse().model.sourceLength == 0)
    }

    @Test func someDefaultsFollowOtherKeys() throws {
        let post = try parse(minimal, "model.norm=post", "model.positions=sinusoidal", "model.num_heads=3")
        #expect(!post.model.finalNorm && post.model.scaleEmbeddings && post.model.numKVHeads == 3)
        let pre = try parse(minimal)
        #expect(pre.model.finalNorm && !pre.model.scaleEmbeddings && pre.model.numKVHeads == 2)
        #expect(try parse(minimal, "model.norm=post", "model.final_norm=true").model.finalNorm)
        #expect(try RunConfig.parse(post.yaml(), source: "again") == post)
    }

    @Test(arguments: [
        "quickstart", "w1", "gpt2-124m", "tiny", "llama-small", "encoder-512", "encoder-1024",
        "bert-base", "mlm-small", "transformer", "marian", "reverse-words",
    ])
    func shippedConfigurationsLoad(name: String) throws {
        let config = try RunConfig.load(path: root.appending(path: "configs/\(name).yaml").path())
        #expect(config.name == name)
        try config.validate(ranks: 1)
        try config.validate(ranks: 2)
        try config.validate(ranks: 4)
    }

    @Test func filesThatCannotBeReadAreNamed() throws {
        for path in ["/does/not/exist.yaml", root.path()] {
            let error = #expect(throws: LockstepError.self) { try RunConfig.load(path: path) }
            #expect(error?.status == .inputMissing)
            #expect(error?.description.contains(path) == true)
        }
        let folder = FileManager.default.temporaryDirectory.appending(path: "configs-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let cases: [(Data, String)] = [
            (Data([0x6E, 0xFF, 0xFE]), "UTF-8"), (Data(repeating: 0x23, count: 256 * 1024 + 1), "256 KiB"),
            (Data(), "missing name"), (Data("# nothing\n".utf8), "missing name"),
        ]
        for (contents, expected) in cases {
            let file = folder.appending(path: "c.yaml")
            try contents.write(to: file)
            let error = #expect(throws: LockstepError.self) { try RunConfig.load(path: file.path()) }
            #expect(error?.status == .badConfiguration)
            #expect(error?.description.contains(expected) == true)
        }
    }
}
