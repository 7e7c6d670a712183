import Configs
import Cost
import Testing

/// How reductions follow the probes of about their size.
@Suite struct ReductionCorrectionTests {
    @Test func reductionsAreCorrectedAsProbesOfTheirSizeAre() {
        var correction = Profile.PhaseCorrection.none
        correction.reduction = 1.1
        #expect(correction.reductionFactor(bytes: 1 << 20, footprint: 1 << 26, isSharded: false) == 1.1)
        correction.exchanges = [
            .init(bytes: 1 << 20, footprint: 1 << 26, isSharded: false, factor: 2),
            .init(bytes: 1 << 20, footprint: 1 << 26, isSharded: false, factor: 2),
            .init(bytes: 1 << 20, footprint: 1 << 26, isSharded: false, factor: 4),
            .init(bytes: 1 << 26, footprint: 1 << 26, isSharded: false, factor: 0.5),
            .init(bytes: 1 << 26, footprint: 1 << 26, isSharded: true, factor: 3),
            .init(bytes: 1 << 26, footprint: 1 << 26, isSharded: true, factor: 3),
            .init(bytes: 1 << 20, footprint: 1 << 20, isSharded: false, factor: 0.25),
        ]
        func factor(_ bytes: Int, _ isSharded: Bool = false, footprint: Int = 1 << 26) -> Double {
            correction.reductionFactor(bytes: bytes, footprint: footprint, isSharded: isSharded) / 1.1
        }
        // The middle one, not the mean.
        #expect(abs(factor(1 << 20) - 2) < 1e-9)
        // Its own kind counts for more.
        #expect(abs(factor(1 << 26, true) - 3) < 1e-9 && abs(factor(1 << 26) - 1) < 1e-9)
        // Gradients that caches hold follow the probe whose step they held, and beyond the caches all steps are alike.
        #expect(abs(factor(1 << 20, footprint: 1 << 20) - 0.25) < 1e-9)
        #expect(factor(1 << 20, footprint: 1 << 30) == factor(1 << 20, footprint: 1 << 27))
        // Far from all probes, the factor of all holds.
        #expect(abs(factor(1 << 50) - 1) < 0.01)
    }
}
