import Cost

/// What generating came to.
public struct GenerationMeasurements: Sendable, Equatable {
    /// Of the arenas, as allocated.
    public var parameterBytes = 0
    public var cacheBytes = 0
    public var workspaceBytes = 0
    public var roundedBytes = 0
    public var draftBytes = 0
    /// Highest resident memory of the process; nil where the system does not tell.
    public var peakBytes: Int?
    /// Until the first token of every prompt.
    public var promptSeconds = 0.0
    /// Of the steps behind it, or of passes that check as many drafts as there may be, and how many there were.
    public var stepSeconds = 0.0
    public var steps = 0
    /// Passes that checked drafts, also fewer, and the tokens that they chose.
    public var draftChecks = 0
    public var draftTokens = 0

    public init() {}
}

extension Verification {
    /// Sets what generating was estimated to cost beside what it did cost.
    ///
    /// - Parameter drift: how much longer products take now than when the machine was calibrated; nil when not known.
    public init(
        of estimate: InferenceEstimate, _ measured: GenerationMeasurements,
        drift: (prompt: Double, step: Double)? = nil
    ) {
        func exact(_ term: String, _ estimated: Int, _ measured: Int) -> Result {
            Result(
                term: term, rank: 0, unit: "B", estimated: Double(estimated), measured: Double(measured),
                tolerance: 0, deviatingSteps: estimated == measured ? 0 : 1,
                firstDeviatingStep: estimated == measured ? nil : 1)
        }
        func term(
            _ name: String, _ unit: String, _ estimated: Double?, _ measured: Double?, drift: Double? = nil,
            tolerance: Double?
        ) -> Result {
            Result(
                term: name, rank: 0, unit: unit, estimated: estimated, measured: measured,
                estimatedAtSpeed: drift.flatMap { drift in estimated.map { drift * $0 } },
                tolerance: tolerance)
        }
        let memory = estimate.memory
        let step = measured.steps > 0 ? measured.stepSeconds / Double(measured.steps) : nil
        // What is guessed right depends on the text.
        let drafts =
            measured.draftChecks == 0
            ? []
            : [
                term(
                    "drafts.tokens_per_step", "1", Double(estimate.drafts + 1),
                    (100 * Double(measured.draftTokens) / Double(measured.draftChecks)).rounded() / 100,
                    tolerance: nil)
            ]
        self.init(
            ranks: 1, steps: measured.steps + 1,
            results: [
                exact("memory.parameters", memory.parameters, measured.parameterBytes),
                exact("memory.cache", memory.cache, measured.cacheBytes),
                exact("memory.workspace", memory.workspace, measured.workspaceBytes),
                exact("memory.rounded", memory.rounded, measured.roundedBytes),
                exact("memory.drafts", memory.drafts, measured.draftBytes),
                term(
                    "memory.runtime", "B", memory.runtime.map(Double.init),
                    measured.peakBytes.map { Double($0 - memory.arenas) }, tolerance: nil),
                term(
                    "memory.peak", "B", memory.peak.map(Double.init), measured.peakBytes.map(Double.init),
                    tolerance: 0.02),
                term(
                    "time.prompt", "s", estimate.time.prompt, measured.promptSeconds, drift: drift?.prompt,
                    tolerance: 0.1),
                term(
                    "time.step", "s", estimate.time.step, step, drift: drift?.step, tolerance: 0.1),
            ] + drafts)
    }
}
