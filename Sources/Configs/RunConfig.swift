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

/// Number formats.
public struct PrecisionConfig: Sendable, Equatable {
    public enum Format: String, Sendable, CaseIterable { case fp32 }
    /// How activations are kept from forward to backward; sums, statistics, gradients and the optimizer are fp32.
    public enum ActivationFormat: String, Sendable, CaseIterable { case fp32, bf16, fp16 }
    /// PyTorch's words: `highest` is fp32 BLAS, `high` three bf16 products that together are about as exact, or one in fp32 that is
    /// not BLAS's, and `medium` one bf16 product; all sum in fp32.
    public enum MatMulPrecision: String, Sendable, CaseIterable { case highest, high, medium }
    public var parameters = Format.fp32
    public var activations = ActivationFormat.fp32
    public var matmul = MatMulPrecision.highest
    /// Products that `high` executes for one: three in bf16, one on CPUs that do it in fp32. Known of CPUs, not a key.
    public var productsOfHigh = 3
    /// Whether products take activations, and the gradients of these, as they are kept.
    public var takesKept: Bool { activations == .bf16 && matmul == .medium }

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
    /// Reduce gradient buckets between hosts while the backward pass continues. On one host the ranks' own cores move them, so
    /// that there is nothing to hide: they then take a fifth longer, as backward has other things in the caches.
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
