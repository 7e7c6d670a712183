import Configs
import Cost
import Ledger
import Testing

@Suite struct GenerationVerificationTests {
    private let estimate: InferenceEstimate
    private var measured = GenerationMeasurements()

    init() throws {
        let model = ModelConfig(
            numLayers: 1, dModel: 32, numHeads: 2, dFF: 64, contextLength: 64, vocabSize: 300)
        estimate = try InferenceEstimate(
            model, InferenceShape(sequences: 2, length: 30, threads: 1), prompts: [10, 10],
            profile: .uniform(layouts: [(1, 1)]))
        measured.parameterBytes = estimate.memory.parameters
        measured.cacheBytes = estimate.memory.cache
        measured.workspaceBytes = estimate.memory.workspace
        measured.peakBytes = estimate.memory.peak
        measured.promptSeconds = 1.05 * (estimate.time.prompt ?? 0)
        measured.steps = 19
        measured.stepSeconds = 19 * 0.95 * (estimate.time.step ?? 0)
    }

    @Test func whatAgreesIsWithin() {
        let verification = Verification(of: estimate, measured)
        #expect(verification.misses.isEmpty)
        #expect(VerificationTable(verification).text().contains("all 5 exact terms exact"))
    }

    @Test mutating func aByteLessAndASlowTokenMiss() throws {
        measured.cacheBytes -= 1
        measured.stepSeconds *= 1.3
        measured.peakBytes = (measured.peakBytes ?? 0) * 103 / 100
        let verification = Verification(of: estimate, measured)
        #expect(verification.misses.map(\.term) == ["memory.cache", "memory.peak", "time.step"])
        let error = try #require(verification.misses[2].relativeError)
        #expect(abs(error - 0.235) < 1e-9)
    }

    /// Where no step was timed, nothing is said of them.
    @Test mutating func oneTokenHasNoSteps() {
        (measured.steps, measured.stepSeconds) = (0, 0)
        #expect(Verification(of: estimate, measured).misses.isEmpty)
    }
}
