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
