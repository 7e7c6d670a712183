import Configs

/// Sequences that are generated side by side.
public struct InferenceShape: Sendable, Equatable {
    public var sequences: Int
    /// Tokens of a sequence, prompt included.
    public var length: Int
    public var threads: Int
    /// Whether products read weights in bf16, which are kept beside the parameters.
    public var rounds: Bool

    public init(sequences: Int, length: Int, threads: Int, rounds: Bool = false) {
        self.rounds = rounds
        self.sequences = sequences
        self.length = length
        self.threads = threads
    }
}

/// Bytes that a decoder takes to generate.
public struct InferenceFootprint: Codable, Sendable, Equatable {
    public let parameters: Int
    /// Keys and values of each layer and position.
    public let cache: Int
    /// Rows of a piece of the prompt or of all sequences, logits, and scores of each thread.
    public let workspace: Int

    /// The parameters in bf16.
    public let halves: Int

    /// For sources on their way through an encoder–decoder's encoder, one at a time.
    public let encoder: Int

    public var arenas: Int { parameters + cache + workspace + halves + encoder }

    /// Throws `.badConfiguration` when a count does not fit 64 bits.
    public init(_ model: ModelConfig, _ shape: InferenceShape) throws {
        let sizes = Shape(model)
        let (h, kv) = (sizes.h, sizes.kv)
        let (sequences, length) = (Count(shape.sequences), Count(shape.length))
        let block = min(shape.length, InferencePass.promptRows)
        let rows = Count.max(sequences, Count.min(sequences * length, Count(InferencePass.promptRows)))
        let count = Count(try ParameterCount(model).total)
        parameters = try (4 * count).exact("bytes of the parameters")
        halves = try ((shape.rounds ? 2 : 0) * count).exact("bytes of the parameters in bf16")
        let source = Count(model.sourceLength)
        cache = try (4 * 2 * sizes.layers * sequences * kv * (length + source)).exact(
            "bytes of keys and values")
        // Stream, norm's output, q‖k‖v, heads' outputs, hidden layer; mean and deviation of each row.
        let perRow = 4 * h + 2 * kv + (model.gated ? 2 : 1) * sizes.f + 2
        let positions: Count =
            switch model.positions {
            case .learned: 0
            case .sinusoidal: Count.max(sizes.s, source) * h
            case .rotary: Count.max(sizes.s, source) * sizes.d
            }
        let scores = Count(shape.threads) * Count(block) * Count.max(length, source)
        workspace = try
            (4 * (rows * perRow + sequences * (h + sizes.vocab) + scores + positions + source * 2 * kv))
            .exact("bytes of the workspace")
        guard model.family == .encoderDecoder else {
            encoder = 0
            return
        }
        let none = TrainConfig(steps: 1, globalBatch: 1, optimizer: OptimizerConfig(learningRate: 1))
        var config = RunConfig(name: "", model: model, data: DataConfig(path: ""), train: none)
        config.parallel.threadsPerRank = shape.threads
        let pass = PassFootprint(config, microBatch: 1)
        encoder = try (pass.activations + pass.workspace).exact("bytes of the encoder's passes")
    }
}
