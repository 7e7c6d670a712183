import Cost

/// What one rank measured in one training step: a line of `ledger.jsonl`.
///
/// Every integer is below 2⁵³, so that a sample travels between ranks, and through JSON, as doubles without loss.
public struct StepSample: Sendable, Equatable {
    /// Wall time of the step's phases, in seconds.
    public struct Seconds: Sendable, Equatable {
        public var data = 0.0
        public var forward = 0.0
        public var backward = 0.0
        /// Time that the backward pass gave to reductions under way.
        public var reduceOverlapped = 0.0
        /// For slower ranks, behind the backward pass.
        public var wait = 0.0
        /// Reduction that the backward pass did not hide.
        public var reduceExposed = 0.0
        public var optimizer = 0.0
        /// The whole step, with what belongs to no phase.
        public var total = 0.0

        public init(
            data: Double = 0, forward: Double = 0, backward: Double = 0, reduceOverlapped: Double = 0,
            wait: Double = 0, reduceExposed: Double = 0, optimizer: Double = 0, total: Double = 0
        ) {
            self.data = data
            self.forward = forward
            self.backward = backward
            self.reduceOverlapped = reduceOverlapped
            self.wait = wait
            self.reduceExposed = reduceExposed
            self.optimizer = optimizer
            self.total = total
        }
    }

    /// Memory of the rank, in bytes: what the kernel says, then the arenas as allocated.
    public struct Bytes: Sendable, Equatable {
        /// Resident memory at the end of the step; zero, like the next four, where the system does not tell.
        public var resident = 0
        public var residentPeak = 0
        public var residentAnonymous = 0
        public var residentFile = 0
        public var residentShared = 0

        public var parameters = 0
        public var gradients = 0
        public var optimizer = 0
        public var activations = 0
        public var workspace = 0
        public var communication = 0
        public var data = 0

        /// Sum of the arenas.
        public var arenas: Int {
            parameters + gradients + optimizer + activations + workspace + communication + data
        }

        public init() {}

        /// Takes over the kernel's figures; nil leaves them zero.
        public mutating func record(_ reading: MemoryMeter.Reading?) {
            guard let reading else { return }
            resident = reading.resident
            residentPeak = reading.peak
            residentAnonymous = reading.anonymous
            residentFile = reading.file
            residentShared = reading.shared
        }
    }

    /// How fast the rank was around the step: rates of the reference product, kernels, copy and, where ranks share a host, of
    /// their sums, and where it has threads, of what these hand over to each other.
    public struct Speed: Sendable, Equatable {
        public var flopsPerSecond: Double
        public var kernelElementsPerSecond: Double
        public var copyBytesPerSecond: Double
        public var exchange: ExchangeSpeed?
        public var handoverBytesPerSecond: Double?

        public init(
            flopsPerSecond: Double, kernelElementsPerSecond: Double, copyBytesPerSecond: Double,
            exchange: ExchangeSpeed? = nil, handoverBytesPerSecond: Double? = nil
        ) {
            self.flopsPerSecond = flopsPerSecond
            self.kernelElementsPerSecond = kernelElementsPerSecond
            self.copyBytesPerSecond = copyBytesPerSecond
            self.exchange = exchange
            self.handoverBytesPerSecond = handoverBytesPerSecond
        }
    }

    /// Counts from 1.
    public var step: Int
    public var rank: Int
    /// Mean over the global batch's target tokens, in nats; NaN is written as null.
    public var loss = Double.nan
    /// Target tokens that this rank took.
    public var tokens = 0
    public var learningRate = Double.nan
    /// Global norm of the gradient before clipping.
    public var gradientNorm = Double.nan
    public var seconds = Seconds()
    /// FLOPs that the matrix products of this rank counted (a multiply-add is two).
    public var matmulFLOPs = 0
    public var bytes = Bytes()
    /// What the rank sent to others for the step's reductions, in bytes.
    public var sentBytes = 0
    /// Loss or gradient were not finite, and the update was left out.
    public var isSkipped = false
    /// nil in runs without a profile.
    public var speed: Speed?

    public init(step: Int, rank: Int) {
        self.step = step
        self.rank = rank
    }
}
