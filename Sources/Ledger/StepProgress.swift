/// One step of all ranks, as far as a progress line tells of it.
public struct StepProgress: Sendable, Equatable {
    /// Steps done, of `steps`.
    public private(set) var step = 0
    public let steps: Int
    public private(set) var loss = Double.nan
    public private(set) var learningRate = Double.nan
    /// Target tokens of all ranks.
    public private(set) var tokens = 0
    /// Of the rank that counted most.
    public private(set) var matmulFLOPs = 0
    /// Resident memory of the rank that has most, in bytes.
    public private(set) var residentBytes = 0
    /// Of the slowest rank.
    public private(set) var seconds = 0.0

    public init(steps: Int) { self.steps = steps }

    /// Takes in a rank's sample of the step.
    public mutating func add(_ sample: StepSample) {
        step = sample.step
        loss = sample.loss
        learningRate = sample.learningRate
        tokens += sample.tokens
        matmulFLOPs = max(matmulFLOPs, sample.matmulFLOPs)
        residentBytes = max(residentBytes, sample.bytes.resident)
        seconds = max(seconds, sample.seconds.total)
    }
}
