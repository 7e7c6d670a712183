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

/// Bytes that a model takes to generate.
public struct InferenceFootprint: Codable, Sendable, Equatable {
    public let parameters: Int
    /// Keys and values of each of the decoder's layers and each position, those of sources included.
    public let cache: Int
    /// Rows of a piece of the prompts or sources, or of all sequences, logits, and scores of each thread.
    public let workspace: Int

    /// The parameters in bf16.
    public let halves: Int

    public var arenas: Int { parameters + cache + workspace + halves }

    /// Throws `.badConfiguration` when a count does not fit 64 bits.
    public init(_ model: ModelConfig, _ shape: InferenceShape) throws {
        let sizes = Shape(model)
        let (h, kv) = (sizes.h, sizes.kv)
        let (sequences, length) = (Count(shape.sequences), Count(shape.length))
        let block = min(shape.length, InferencePass.promptRows)
        let source = Count(model.sourceLength)
        let ofPrompts = Count.min(sequences * length, Count(InferencePass.promptRows))
        let ofSources = Count.min(sequences * source, Count(InferencePass.sourceRows(model)))
        let rows = Count.max(sequences, Count.max(ofPrompts, ofSources))
        let count = Count(try ParameterCount(model).total)
        parameters = try (4 * count).exact("bytes of the parameters")
        halves = try ((shape.rounds ? 2 : 0) * count).exact("bytes of the parameters in bf16")
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
        workspace = try (4 * (rows * perRow + sequences * (h + sizes.vocab) + scores + positions))
            .exact("bytes of the workspace")
    }
}
