/// Beyond the deepest models; every layer costs memory of its own besides its parameters, however narrow it is.
private let mostLayers = 65_536

/// Largest count of anything; token ids are 32-bit, and two counts multiplied still fit 64 bits.
private let largest = Int(Int32.max)

extension RunConfig: Section {
    static var initial: RunConfig {
        RunConfig(name: "", model: .initial, data: .initial, train: .initial)
    }

    static var keys: [Key<RunConfig>] {
        [
            Key("name", \.name, required: true, .folderName),
            Key(section: "model", \.model),
            Key(section: "data", \.data),
            Key(section: "train", \.train),
            Key(section: "precision", \.precision),
            Key(section: "parallel", \.parallel),
        ]
    }
}

extension ModelConfig: Section {
    static var initial: ModelConfig {
        ModelConfig(numLayers: 0, dModel: 0, numHeads: 0, dFF: 0, contextLength: 0, vocabSize: 0)
    }

    static var keys: [Key<ModelConfig>] {
        [
            Key("family", \.family),
            Key("from", \.from, Limit(text: "the path of a folder, or null") { $0 != "" }),
            Key("num_layers", \.numLayers, required: true, .within(1...mostLayers)),
            Key(
                "encoder_layers", \.encoderLayers, .within(0...mostLayers),
                default: { $0.family == .encoderDecoder ? $0.numLayers : 0 }),
            Key("d_model", \.dModel, required: true, .within(1...largest)),
            Key("num_heads", \.numHeads, required: true, .within(1...largest)),
            Key("num_kv_heads", \.numKVHeads, .within(1...largest), default: \.numHeads),
            Key("d_ff", \.dFF, required: true, .within(1...largest)),
            Key("context_length", \.contextLength, required: true, .within(1...largest)),
            Key(
                "source_length", \.sourceLength, .within(0...largest),
                default: { $0.family == .encoderDecoder ? $0.contextLength : 0 }),
            Key("vocab_size", \.vocabSize, required: true, .within(1...largest)),
            Key("norm", \.norm),
            Key("norm_type", \.normType),
            Key("final_norm", \.finalNorm, default: { $0.norm == .pre }),
            Key("norm_epsilon", \.normEpsilon, Limit(text: "above 0 and below 1") { $0 > 0 && $0 < 1 }),
            Key("positions", \.positions),
            Key("rotary_base", \.rotaryBase, .within(1...1e12)),
            Key("scale_embeddings", \.scaleEmbeddings, default: { $0.positions == .sinusoidal }),
            Key("activation", \.activation),
            Key("token_types", \.tokenTypes, .within(0...1024)),
            Key("embedding_norm", \.embeddingNorm),
            Key("head_transform", \.headTransform),
            Key("gated", \.gated),
            Key("biases", \.biases),
            Key("tie_embeddings", \.tieEmbeddings),
            Key("share_embeddings", \.shareEmbeddings),
            Key("dropout", \.dropout, .share),
            Key("attention", \.attention),
        ]
    }
}

extension DataConfig: Section {
    static var initial: DataConfig { DataConfig(path: "") }

    static var keys: [Key<DataConfig>] {
        [
            Key("task", \.task),
            Key("path", \.path),
            Key("format", \.format),
            Key("tokenizer", \.tokenizer),
            Key("packing", \.packing),
            Key("truncate", \.truncate),
            Key(section: "generated", \.generated),
            Key(
                "mask_token", \.maskToken,
                Limit(text: "from 0 to \(largest), or null") { $0.map { (0...largest).contains($0) } ?? true }
            ),
            Key(
                "validation_fraction", \.validationFraction,
                Limit(text: "above 0 and below 1") { $0 > 0 && $0 < 1 }),
        ]
    }
}

extension GeneratedConfig: Section {
    static var initial: GeneratedConfig { GeneratedConfig() }

    static var keys: [Key<GeneratedConfig>] {
        [
            Key("samples", \.samples, .within(2...1 << 28)),
            Key("min_length", \.minLength, .within(1...1 << 20)),
            Key("max_length", \.maxLength, .within(1...1 << 20)),
            Key("symbols", \.symbols, .within(1...26)),
            Key("digits", \.digits, .within(1...18)),
            Key("characters", \.characters, .within(2...1 << 30)),
            Key("canaries", \.canaries, .within(1...1 << 16)),
            Key("canary_length", \.canaryLength, .within(1...1 << 16)),
            Key(
                "canary_copies", \.canaryCopies,
                Limit(text: "1 to 64 different numbers from 0 to \(1 << 16)") { copies in
                    (1...64).contains(copies.count) && Set(copies).count == copies.count
                        && copies.allSatisfy { (0...1 << 16).contains($0) }
                }),
            Key("seed", \.seed),
        ]
    }
}

extension TrainConfig: Section {
    static var initial: TrainConfig { TrainConfig(steps: 0, globalBatch: 0, optimizer: .initial) }

    static var keys: [Key<TrainConfig>] {
        [
            Key("steps", \.steps, required: true, .within(1...largest)),
            Key("global_batch", \.globalBatch, required: true, .within(1...largest)),
            Key("micro_batch", \.microBatch, .auto(or: 1...largest)),
            Key("seed", \.seed),
            Key(
                "mask_fraction", \.maskFraction, Limit(text: "above 0 and below 1") { $0 > 0 && $0 < 1 }),
            Key("label_smoothing", \.labelSmoothing, .share),
            Key("clip_norm", \.clipNorm, Limit(text: "above 0, or null") { $0.map { $0 > 0 } ?? true }),
            Key(section: "optimizer", \.optimizer),
            Key(section: "schedule", \.schedule),
            Key("evaluate_every", \.evaluateEvery, .within(0...largest)),
            Key("checkpoint_every", \.checkpointEvery, .within(0...largest)),
            Key("keep_checkpoints", \.keepCheckpoints, .within(2...largest)),
            Key("keep_checkpoint_every", \.keepCheckpointEvery, .within(0...largest)),
            Key("patience", \.patience, .within(0...largest)),
            Key("keep_best", \.keepBest, default: { $0.patience > 0 }),
            Key("on_non_finite", \.onNonFinite),
        ]
    }
}

extension OptimizerConfig: Section {
    static var initial: OptimizerConfig { OptimizerConfig(learningRate: 0) }

    static var keys: [Key<OptimizerConfig>] {
        [
            Key("name", \.name),
            Key("learning_rate", \.learningRate, required: true, .above(0)),
            Key("betas", \.betas, .twoShares),
            Key("epsilon", \.epsilon, .above(0), default: { $0.name.defaultEpsilon }),
            Key("weight_decay", \.weightDecay, .atLeast(0)),
            Key("embedding_weight_decay", \.embeddingWeightDecay, .atLeast(0), default: \.weightDecay),
            Key("bias_weight_decay", \.biasWeightDecay, .atLeast(0)),
            Key("norm_weight_decay", \.normWeightDecay, .atLeast(0)),
            Key("momentum", \.momentum, .share),
            Key("nesterov", \.nesterov),
            Key("alpha", \.alpha, .share),
        ]
    }
}

extension ScheduleConfig: Section {
    static var initial: ScheduleConfig { ScheduleConfig() }

    static var keys: [Key<ScheduleConfig>] {
        [
            Key("name", \.name),
            Key("warmup_steps", \.warmupSteps, .within(0...largest)),
            Key("final_fraction", \.finalFraction, .within(0...1)),
        ]
    }
}

extension PrecisionConfig: Section {
    static var initial: PrecisionConfig { PrecisionConfig() }

    static var keys: [Key<PrecisionConfig>] {
        [
            Key("parameters", \.parameters),
            Key("activations", \.activations),
            Key("matmul", \.matmul),
        ]
    }
}

extension ParallelConfig: Section {
    static var initial: ParallelConfig { ParallelConfig() }

    static var keys: [Key<ParallelConfig>] {
        [
            Key("threads_per_rank", \.threadsPerRank, .within(1...4096)),
            Key("reduction", \.reduction),
            Key("bucket_mib", \.bucketMib, .auto(or: 1...1024)),
            Key("overlap", \.overlap),
            Key("optimizer_sharding", \.optimizerSharding),
            Key(
                "hang_timeout", \.hangTimeout,
                Limit(text: "0, which waits for ever, or from 1 to 1e6 seconds") {
                    $0 == 0 || (1...1e6).contains($0)
                }),
            Key("replica_check_every", \.replicaCheckEvery, .within(0...largest)),
            Key("reproducible", \.reproducible),
        ]
    }
}

extension Limit<Double> {
    static var share: Limit { Limit(text: "at least 0 and below 1") { $0 >= 0 && $0 < 1 } }
}

extension Limit<[Double]> {
    static var twoShares: Limit {
        Limit(text: "two numbers, each at least 0 and below 1") { values in
            values.count == 2 && values.allSatisfy { $0 >= 0 && $0 < 1 }
        }
    }
}

extension Limit where Value: WholeOrAuto {
    static func auto(or range: ClosedRange<Int>) -> Limit {
        Limit(text: "auto or from \(range.lowerBound) to \(range.upperBound)") { value in
            value.number.map(range.contains) ?? true
        }
    }
}

extension Limit<String> {
    /// One component of a path that every file system and shell takes.
    static var folderName: Limit {
        Limit(text: "1 to 64 letters, digits, '.', '_' and '-', starting with a letter or digit") { name in
            guard let first = name.utf8.first, (1...64).contains(name.utf8.count) else { return false }
            let isWordCharacter = { (byte: UInt8) in
                (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
            }
            let punctuation: Set<UInt8> = [0x2D, 0x2E, 0x5F]
            return isWordCharacter(first)
                && name.utf8.allSatisfy { isWordCharacter($0) || punctuation.contains($0) }
        }
    }
}
