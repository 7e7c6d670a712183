/// Everything that defines a run; written to `config.yaml` of the run directory as resolved.
///
/// YAML keys are the snake_case forms of the property names (`dFF` is `d_ff`).
public struct RunConfig: Sendable, Equatable, Codable {
    /// Names the run directory: `runs/NAME`.
    public var name: String
    public var model: ModelConfig
    public var data: DataConfig
    public var train: TrainConfig
    public var precision: PrecisionConfig
    public var parallel: ParallelConfig
}

/// Shape and arithmetic of the model.
public struct ModelConfig: Sendable, Equatable, Codable {
    public enum Family: String, Sendable, Codable, CaseIterable { case decoder }
    public enum NormPlacement: String, Sendable, Codable, CaseIterable { case pre }
    public enum Activation: String, Sendable, Codable, CaseIterable {
        /// GELU, tanh approximation, as in GPT-2.
        case gelu
        /// GELU by the error function.
        case geluErf = "gelu_erf"
        case relu
    }
    /// Whether attention probabilities are kept for the backward pass or computed again in it.
    public enum AttentionMode: String, Sendable, Codable, CaseIterable { case recomputed, stored }

    public var family: Family
    public var numLayers: Int
    public var dModel: Int
    public var numHeads: Int
    public var dFF: Int
    /// Sequence length of training, and the number of learned positions, in tokens.
    public var contextLength: Int
    public var vocabSize: Int
    public var norm: NormPlacement
    public var activation: Activation
    public var tieEmbeddings: Bool
    /// Probability of dropping an element, in [0, 1).
    public var dropout: Double
    public var attention: AttentionMode

    /// Rows of the logits that exist at one time: the head and its loss work through a micro-batch in blocks of
    /// this many tokens, so that the logits of a large vocabulary are never stored whole.
    public static let logitsBlockRows = 512
}

/// Where the tokens come from.
public struct DataConfig: Sendable, Equatable, Codable {
    public enum Tokenizer: String, Sendable, Codable, CaseIterable { case bytes }
    /// A text file, or a token shard in llm.c's format (`.bin`); relative to the working directory.
    public var path: String
    public var tokenizer: Tokenizer
    /// Share of the corpus, taken from its end, that is kept for validation, in (0, 1).
    public var validationFraction: Double
}

/// How the model is trained.
public struct TrainConfig: Sendable, Equatable, Codable {
    /// Sequences that one forward and backward pass of a rank takes: a number, or `auto`.
    public enum MicroBatch: Sendable, Equatable { case auto, sequences(Int) }

    public var steps: Int
    /// Sequences of an optimizer step over all ranks.
    public var globalBatch: Int
    public var microBatch: MicroBatch
    public var seed: UInt64
    /// Largest global gradient norm; null (nil) does not clip.
    public var clipNorm: Double?
    public var optimizer: OptimizerConfig
    public var schedule: ScheduleConfig
    /// Steps between two evaluations on the validation split; 0 evaluates only at the end.
    public var evaluateEvery: Int
    /// Steps between two checkpoints; 0 saves only the final one.
    public var checkpointEvery: Int
}

public struct OptimizerConfig: Sendable, Equatable, Codable {
    public enum Name: String, Sendable, Codable, CaseIterable { case sgd, adam, adamw, rmsprop, adagrad }
    public var name: Name
    public var learningRate: Double
    /// Adam and AdamW: decay of the first and second moment.
    public var betas: [Double]
    /// Adam, AdamW, RMSProp, AdaGrad: added to the denominator.
    public var epsilon: Double
    /// Decoupled for AdamW, added to the gradient (L2) for the others; applies to matrices only, never to biases and
    /// norms.
    public var weightDecay: Double
    /// SGD and RMSProp.
    public var momentum: Double
    /// SGD.
    public var nesterov: Bool
    /// RMSProp: smoothing constant.
    public var alpha: Double
}

public struct ScheduleConfig: Sendable, Equatable, Codable {
    public enum Name: String, Sendable, Codable, CaseIterable { case constant, linear, cosine }
    public var name: Name
    /// Steps over which the learning rate rises linearly to its peak.
    public var warmupSteps: Int
    /// Learning rate of the last step as a share of the peak, in [0, 1] (linear and cosine).
    public var finalFraction: Double
}

/// Number formats.
public struct PrecisionConfig: Sendable, Equatable, Codable {
    public enum Format: String, Sendable, Codable, CaseIterable { case fp32 }
    /// PyTorch's words: `highest` is fp32 BLAS.
    public enum MatMulPrecision: String, Sendable, Codable, CaseIterable { case highest }
    public var parameters: Format
    public var activations: Format
    public var matmul: MatMulPrecision
}

/// How the ranks share the work.
public struct ParallelConfig: Sendable, Equatable, Codable {
    public var threadsPerRank: Int
    /// Size of a gradient bucket that is reduced at once, in MiB.
    public var bucketMib: Int
    /// Reduce gradient buckets while the backward pass continues.
    public var overlap: Bool
    /// The same bits at every number of ranks; not available yet, so only `false` is accepted.
    public var reproducible: Bool
}

extension TrainConfig.MicroBatch: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let count = try? container.decode(Int.self) {
            self = .sequences(count)
        } else {
            self = .auto
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .auto: try container.encode("auto")
        case .sequences(let count): try container.encode(count)
        }
    }
}
