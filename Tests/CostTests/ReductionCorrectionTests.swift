import Configs
import Cost
import Testing

/// How reductions follow the probes of about their size.
@Suite struct ReductionCorrectionTests {
    @Test func reductionsAreCorrectedAsProbesOfTheirSizeAre() {
        var correction = Profile.PhaseCorrection.none
        correction.reduction = 1.1
        correction.sharding = 1.5
        #expect(correction.reductionFactor(bytes: 1 << 20, isSharded: false) == 1.1)
        correction.exchanges = [
            .init(bytes: 1 << 20, isSharded: false, factor: 2),
            .init(bytes: 1 << 26, isSharded: false, factor: 0.5),
            .init(bytes: 1 << 20, isSharded: true, factor: 3),
        ]
        func factor(_ bytes: Int, _ isSharded: Bool = false) -> Double {
            correction.reductionFactor(bytes: bytes, isSharded: isSharded) / (isSharded ? 1.65 : 1.1)
        }
        #expect((1.5...2).contains(factor(1 << 20)) && (0.5...0.67).contains(factor(1 << 26)))
        #expect(abs(factor(1 << 23) - 1) < 1e-3)
        #expect((2...3.001).contains(factor(1 << 20, true)))
        // Far from all probes, the factor of all holds.
        #expect(abs(factor(1 << 50) - 1) < 0.01)
    }
}
