import Configs

/// Sequences that are generated side by side.
public struct InferenceShape: Sendable, Equatable {
    public var sequences: Int
    /// Tokens of a sequence, prompt included.
    public var length: Int
    public var threads: Int
    /// Whether products read weights in bf16, which are kept beside the parameters.
    public var rounds: Bool
    /// Tokens that are proposed at once, with weights in 8 bits that are kept beside the others, and then checked together;
    /// 0 but of one sequence.
    public var drafts: Int

    public init(sequences: Int, length: Int, threads: Int, rounds: Bool = false, drafts: Int = 0) {
        self.rounds = rounds
        self.drafts = drafts
        self.sequences = sequences
        self.length = length
        self.threads = threads
    }

    /// Tokens that are proposed at once behind a round of which none was right.
    static let draftsBehindMiss = 2

    /// Tokens that are proposed at once unless something else is asked for: some where every step would read more weights
    /// from memory than caches hold, 32 MiB in fp32; none in batches, which read them once for all. Five and the token before
    /// them are six rows to check, which 16 vector registers take in two turns.
    public static func usualDrafts(_ model: ModelConfig, sequences: Int) -> Int {
        let step = InferencePass.step(model, sequences: 1, position: 0)
        return sequences == 1 && step.layerWeights + step.headWeights > Double(8 << 20) ? 5 : 0
    }

    /// What steps read of the weights.
    var format: WeightFormat { WeightFormat(isRounded: rounds) }
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
    /// What steps multiply in 8 bits, and a scale of each output.
    public let drafts: Int

    public var arenas: Int { parameters + cache + workspace + halves + drafts }

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
        let isPair = model.family == .encoderDecoder
        let gate: Count = model.gated ? 2 : 1
        let toSource: Count = isPair ? 2 : 0
        let attention: Count = (2 + toSource) * h * h + 2 * h * kv
        let weights: Count = attention + (gate + 1) * h * sizes.f
        let outputs: Count = (3 + toSource) * h + 2 * kv + gate * sizes.f
        let ofDrafts: Count = sizes.layers * (weights + 4 * outputs) + sizes.vocab * (h + 4)
        drafts = shape.drafts > 0 ? try ofDrafts.exact("bytes of the weights in 8 bits") : 0
        cache = try (4 * 2 * sizes.layers * sequences * kv * (length + source)).exact(
            "bytes of keys and values")
        // Stream, norm's output, q‖k‖v, heads' outputs, hidden layer; mean and deviation of each row.
        let perRow: Count = 4 * h + 2 * kv + gate * sizes.f + 2
        let positions: Count =
            switch model.positions {
            case .learned: 0
            case .sinusoidal: Count.max(sizes.s, source) * h
            case .rotary: Count.max(sizes.s, source) * sizes.d
            }
        let logits = sequences + Count(shape.drafts)
        let scores = Count(shape.threads) * Count(block) * Count.max(length, source)
        workspace = try (4 * (rows * perRow + sequences * h + logits * sizes.vocab + scores + positions))
            .exact("bytes of the workspace")
    }
}
