/// Everything that defines a run; written to `config.yaml` of the run directory as resolved.
///
/// YAML keys are the snake_case forms of the property names (`dFF` is `d_ff`). A property that has an initial value
/// is optional in YAML and that value is its default; the others are required.
public struct RunConfig: Sendable, Equatable {
    /// Names the run directory: `runs/NAME`.
    public var name: String
    public var model: ModelConfig
    public var data: DataConfig
    public var train: TrainConfig
    public var precision = PrecisionConfig()
    public var parallel = ParallelConfig()

    public init(name: String, model: ModelConfig, data: DataConfig, train: TrainConfig) {
        self.name = name
        self.model = model
        self.data = data
        self.train = train
    }
}

/// Shape and arithmetic of the model.
public struct ModelConfig: Sendable, Equatable {
    public enum Family: String, Sendable, CaseIterable {
        /// Tokens look at those before them, and the next one is predicted: GPT-2, Llama.
        case decoder
        /// Tokens look at all of their sequence, and masked ones are predicted: BERT.
        case encoder
        /// A decoder looks at what an encoder has made of a source, too, and predicts the next token of its target:
        /// Vaswani et al. 2017, Marian.
        case encoderDecoder = "encoder-decoder"
    }
    /// Where a block's norms are: before attention and feed-forward (GPT-2, Llama), or behind each sum of a branch and the
    /// residual stream (Vaswani et al. 2017).
    public enum NormPlacement: String, Sendable, CaseIterable { case pre, post }
    /// Layer normalization (Ba et al. 2016), or by the root mean square alone (Zhang and Sennrich 2019).
    public enum NormType: String, Sendable, CaseIterable { case layer, rms }
    /// How tokens know their places: a learned embedding; sines and cosines added to the token embedding (Vaswani et al.
    /// 2017, sines first); or queries and keys that are turned (Su et al. 2021, Llama's halves).
    public enum Positions: String, Sendable, CaseIterable { case learned, sinusoidal, rotary }
    public enum Activation: String, Sendable, CaseIterable {
        /// GELU, tanh approximation, as in GPT-2.
        case gelu
        /// GELU by the error function.
        case geluErf = "gelu_erf"
        case relu
        case silu
    }
    /// Whether attention probabilities are kept for the backward pass or computed again in it.
    public enum AttentionMode: String, Sendable, CaseIterable, Encodable { case recomputed, stored }

    public var family = Family.decoder
    /// Folder of a Hugging Face checkpoint whose parameters training starts from, relative to the working directory; null
    /// (nil) starts from random ones. Keys of its shape that a configuration leaves out are those of its `config.json`.
    public var from: String? = nil
    /// Of the decoder, where there is one.
    public var numLayers: Int
    /// Layers of the encoder of an encoder–decoder, by default as many as its decoder has; 0 in other families.
    public var encoderLayers = 0
    public var dModel: Int
    public var numHeads: Int
    /// Heads of keys and values, each of which equally many query heads share (Ainslie et al. 2023). By default
    /// `numHeads`.
    public var numKVHeads: Int
    public var dFF: Int
    /// Sequence length of training, and the number of positions, in tokens. Of an encoder–decoder that of targets, each with
    /// the token that ends it.
    public var contextLength: Int
    /// The same of an encoder–decoder's sources, by default as long; 0 in other families.
    public var sourceLength = 0
    public var vocabSize: Int
    public var norm = NormPlacement.pre
    public var normType = NormType.layer
    /// Whether a norm stands between the last block and the head. By default with `norm: pre`.
    public var finalNorm = true
    /// Added to the variance, or mean square, in norms.
    public var normEpsilon = 1e-5
    public var positions = Positions.learned
    /// Rotary positions: element pair i of a head of width d turns by base^(-2i/d) a token.
    public var rotaryBase = 10_000.0
    /// Multiplies token embeddings by √d_model where they enter. By default with sinusoidal positions (Vaswani et al. 2017).
    public var scaleEmbeddings = false
    public var activation = Activation.gelu
    /// Kinds of segments, of which each has an embedding that is added to its tokens' (BERT has 2); 0 has none. All tokens
    /// that are trained on are of the first kind.
    public var tokenTypes = 0
    /// Whether a norm stands behind the sum of embeddings.
    public var embeddingNorm = false
    /// Whether the head begins with a linear map, activation and norm, and has a bias for each token of the vocabulary.
    public var headTransform = false
    /// A gated feed-forward: activation(x·gate)∘(x·up), of d_ff each (Shazeer 2020); with silu it is SwiGLU.
    public var gated = false
    /// Whether linear maps and layer norms have biases.
    public var biases = true
    /// Whether the head shares the token embedding's weights.
    public var tieEmbeddings = true
    /// Whether encoder and decoder have one token embedding (family encoder-decoder); otherwise a tied head has the
    /// decoder's.
    public var shareEmbeddings = true
    /// Probability of dropping an element, in [0, 1).
    public var dropout = 0.0
    public var attention = AttentionMode.recomputed

    /// Rows of the logits that exist at one time: the head and its loss work through a micro-batch in blocks of
    /// this many tokens, so that the logits of a large vocabulary are never stored whole.
    public static let logitsBlockRows = 512

    /// Query rows that attention takes at one time: scores exist for a block of rows and the keys up to its last row, so
    /// that most of the future, which a causal mask hides, is never computed.
    public static let attentionBlockRows = 64

    public init(
        numLayers: Int, dModel: Int, numHeads: Int, dFF: Int, contextLength: Int, vocabSize: Int
    ) {
        self.numLayers = numLayers
        self.dModel = dModel
        self.numHeads = numHeads
        numKVHeads = numHeads
        self.dFF = dFF
        self.contextLength = contextLength
        self.vocabSize = vocabSize
    }
}

/// Where the tokens come from.
public struct DataConfig: Sendable, Equatable {
    public enum Tokenizer: Sendable, Equatable {
        /// A token a byte.
        case bytes
        /// A Hugging Face `tokenizer.json`; relative to the working directory.
        case file(String)

        /// As it is written in a configuration.
        public var name: String {
            switch self {
            case .bytes: "bytes"
            case .file(let path): path
            }
        }
    }
    /// What the model learns.
    public enum Task: String, Sendable, CaseIterable {
        /// To go on with a text.
        case language
        /// To give the target of a source, of pairs from a file.
        case pairs
        /// The same of pairs that are drawn at random: the source itself, backwards, in order, or the sum of two numbers.
        case copy, reverse, sort, addition
        /// To go on with letters that are drawn uniformly, whose entropy no model's loss can be below.
        case uniform
        /// To go on with a text from a file, in whose training split random lines are hidden several times each, so that it
        /// can be measured which a model has learned by heart (Carlini et al. 2019).
        case canaries

        public var hasPairs: Bool {
            switch self {
            case .language, .uniform, .canaries: false
            case .pairs, .copy, .reverse, .sort, .addition: true
            }
        }
        /// Whether there is no file.
        public var isGenerated: Bool { self == .uniform || (hasPairs && self != .pairs) }
    }
    /// How the file at `path` is written.
    public enum Format: String, Sendable, CaseIterable {
        /// By the end of its name: `.bin` is `shard`, `.jsonl` is `jsonl`, `.tsv` is `tsv`, anything else `text`.
        case auto
        case text
        /// A JSON object a line: `{"text": …}`, or `{"source": …, "target": …}` for pairs.
        case jsonl
        /// A pair a line, with a tab between source and target.
        case tsv
        /// llm.c's token shard.
        case shard
        /// Tokens of 16 bits without a header, nanoGPT's `train.bin`.
        case uint16
    }

    /// How a text becomes sequences.
    public enum Packing: String, Sendable, CaseIterable {
        /// Cut into contexts wherever they end; a document may begin anywhere in one.
        case stream
        /// Each document of JSON lines, or line of a text, is a sequence of its own, filled up with padding that is neither
        /// looked at nor predicted; those longer than the context become several.
        case documents
    }

    public var task = Task.language
    /// Relative to the working directory; empty for data that is generated.
    public var path: String
    public var format = Format.auto
    public var tokenizer = Tokenizer.bytes
    public var packing = Packing.stream
    /// The token that stands for masked ones (family encoder). By default (nil) the last one of the vocabulary.
    public var maskToken: Int?
    /// Whether a pair that is longer than the context is cut: its source, then its target, or of an encoder–decoder each to its
    /// own length. Otherwise it is an error.
    public var truncate = false
    /// Of data that is generated.
    public var generated = GeneratedConfig()
    /// Share of the corpus, taken from its end, that is kept for validation, in (0, 1).
    public var validationFraction = 0.05

    public init(path: String) {
        self.path = path
    }

    /// What the file is, when its name has said so.
    public var resolvedFormat: Format {
        guard format == .auto else { return format }
        return switch path.split(separator: ".").last {
        case "bin": .shard
        case "jsonl": .jsonl
        case "tsv": .tsv
        default: .text
        }
    }
}

/// Data that is drawn at random.
public struct GeneratedConfig: Sendable, Equatable {
    /// Pairs of both splits.
    public var samples = 100_000
    /// Letters of a source, for copy, reverse and sort.
    public var minLength = 1
    public var maxLength = 16
    /// Different letters, from a on, of all but addition.
    public var symbols = 26
    /// Most digits of a number, for addition.
    public var digits = 3
    /// Letters of both splits, for uniform.
    public var characters = 1_000_000
    /// Different canaries for each number of copies, and the letters of one.
    public var canaries = 10
    public var canaryLength = 32
    /// How often the training split has a canary; 0 are for comparison.
    public var canaryCopies = [0, 1, 4, 16, 64]
    public var seed: UInt64 = 1

    public init() {}
}

/// How the model is trained.
public struct TrainConfig: Sendable, Equatable {
    /// Sequences that one forward and backward pass of a rank takes: a number, or `auto`.
    public enum MicroBatch: Sendable, Equatable { case auto, sequences(Int) }
    /// What follows on a loss or gradient that is not finite; parameters and optimizer are untouched in any case.
    public enum NonFiniteAction: String, Sendable, CaseIterable {
        /// The run ends.
        case halt
        /// The step's update is left out and the run goes on, unless that happens too often in a row.
        case skip
        /// The run goes back to its newest checkpoint, and on from there with the samples behind those that led to it,
        /// unless that happens too often without a new checkpoint.
        case rollback
    }

    public var steps: Int
    /// Sequences of an optimizer step over all ranks.
    public var globalBatch: Int
    public var microBatch = MicroBatch.auto
    public var seed: UInt64 = 1
    /// Share of the tokens that are to be predicted (family encoder), in (0, 1); of these 80 % are replaced by the mask
    /// token, 10 % by any, and 10 % stay (Devlin et al. 2019).
    public var maskFraction = 0.15
    /// Share of a target's weight that is spread evenly over the vocabulary in the training loss, in [0, 1), as in PyTorch's
    /// `CrossEntropyLoss(label_smoothing=)`. The validation loss has none of it.
    public var labelSmoothing = 0.0
    /// Largest global gradient norm; null (nil) does not clip.
    public var clipNorm: Double? = 1.0
    public var optimizer: OptimizerConfig
    public var schedule = ScheduleConfig()
    /// Steps between two evaluations on the validation split; 0 evaluates only at the end.
    public var evaluateEvery = 100
    /// Steps between two checkpoints; 0 saves only the final one.
    public var checkpointEvery = 1000
    /// Newest checkpoints that stay on disk, at least 2.
    public var keepCheckpoints = 2
    /// Checkpoints of steps that this number divides stay on disk for ever; 0 keeps none of them.
    public var keepCheckpointEvery = 0
    /// Evaluations in a row without a lower validation loss behind which the run ends; 0 takes all steps.
    public var patience = 0
    /// Whether a checkpoint is saved behind every evaluation with a lower validation loss than all before, and the one of
    /// the lowest stays on disk. By default with a patience.
    public var keepBest = false
    public var onNonFinite = NonFiniteAction.halt

    public init(steps: Int, globalBatch: Int, optimizer: OptimizerConfig) {
        self.steps = steps
        self.globalBatch = globalBatch
        self.optimizer = optimizer
    }
}

public struct OptimizerConfig: Sendable, Equatable {
    public enum Name: String, Sendable, CaseIterable {
        case sgd, adam, adamw, rmsprop, adagrad

        /// PyTorch's own: 1e-10 for AdaGrad, 1e-8 for the others.
        public var defaultEpsilon: Double { self == .adagrad ? 1e-10 : 1e-8 }
    }
    public var name: Name
    /// At its peak, after warm-up and before decay.
    public var learningRate: Double
    /// Adam and AdamW: decay of the first and second moment.
    public var betas = [0.9, 0.95]
    /// Adam, AdamW, RMSProp, AdaGrad: added to the denominator. By default `name.defaultEpsilon`.
    public var epsilon: Double
    /// Of the weights of linear maps, an untied head among them; decoupled for AdamW, added to the gradient (L2) for the
    /// others.
    public var weightDecay = 0.0
    /// Of embeddings, a tied head among them. By default `weightDecay`, as GPT-2's trainers have it.
    public var embeddingWeightDecay = 0.0
    /// Of the biases of linear maps and of the head.
    public var biasWeightDecay = 0.0
    /// Of the weights and biases of norms.
    public var normWeightDecay = 0.0
    /// SGD and RMSProp.
    public var momentum = 0.0
    /// SGD.
    public var nesterov = false
    /// RMSProp: smoothing constant.
    public var alpha = 0.99

    public init(name: Name = .adamw, learningRate: Double) {
        self.name = name
        self.learningRate = learningRate
        self.epsilon = name.defaultEpsilon
    }
}

public struct ScheduleConfig: Sendable, Equatable {
    public enum Name: String, Sendable, CaseIterable { case constant, linear, cosine }
    public var name = Name.constant
    /// Steps over which the learning rate rises linearly to its peak.
    public var warmupSteps = 0
    /// Learning rate of the last step as a share of the peak, in [0, 1] (linear and cosine).
    public var finalFraction = 0.1

    public init() {}
}

/// Number formats.
public struct PrecisionConfig: Sendable, Equatable {
    public enum Format: String, Sendable, CaseIterable { case fp32 }
    /// PyTorch's words: `highest` is fp32 BLAS, `high` three bf16 products that together are about as exact, and `medium`
    /// one bf16 product; both sum in fp32.
    public enum MatMulPrecision: String, Sendable, CaseIterable { case highest, high, medium }
    public var parameters = Format.fp32
    public var activations = Format.fp32
    public var matmul = MatMulPrecision.highest

    public init() {}
}

/// How the ranks share the work.
public struct ParallelConfig: Sendable, Equatable {
    /// The way that gradients take when they are summed.
    public enum Reduction: String, Sendable, CaseIterable {
        /// Hierarchical on several hosts with several ranks each and equally many; a ring elsewhere.
        case auto
        /// One ring over all ranks.
        case ring
        /// Rings within the hosts, and between ranks of the same number across them.
        case hierarchical
    }

    /// Size of a gradient bucket that is reduced at once: a number in MiB, or `auto`.
    public enum BucketSize: Sendable, Equatable, Encodable, CustomStringConvertible {
        case auto, mebibytes(Int)

        /// As written in a configuration.
        public var description: String { yaml }

        /// The number, or the word.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            if let number { try container.encode(number) } else { try container.encode(yaml) }
        }
    }

    public var threadsPerRank = 1
    public var reduction = Reduction.auto
    public var bucketMib = BucketSize.auto
    /// Reduce gradient buckets while the backward pass continues.
    public var overlap = true
    /// Each rank keeps the optimizer's state of its share of the parameters only, and updates that share (ZeRO-1,
    /// Rajbhandari et al. 2020).
    public var optimizerSharding = false
    /// Seconds in which no rank makes progress before the run is ended; 0 waits for ever.
    public var hangTimeout = 300.0
    /// Steps between two comparisons of the replicas' parameters; 0 never compares them.
    public var replicaCheckEvery = 100
    /// The same bits at 1, 2, 4, 8, … ranks, however often the run is stopped and resumed among them: gradients of the
    /// micro-batches are summed in one fixed binary tree. The micro-batch is `train.micro_batch`, of which `auto` is 1.
    /// Nothing overlaps then, and a rank keeps ⌈log₂ n⌉ more arenas of gradients for its n micro-batches. The same kernels
    /// are taken for granted: processor, BLAS and `threads_per_rank`.
    public var reproducible = false

    public init() {}

    /// Bytes of a gradient bucket over so many ranks. Of an `auto` one each rank has a part of 512 KiB, but all at most
    /// 4 MiB: what is under way then stays in a core's caches until it is passed on, and messages are long.
    public func bucketBytes(ranks: Int) -> Int {
        switch bucketMib {
        case .auto: min(ranks, 8) << 19
        case .mebibytes(let count): count << 20
        }
    }
}
