import Cost
import Testing

@Suite struct PhaseFactorsTests {
    typealias Factors = Profile.PhaseCorrection.Factors

    @Test func productsAndTheRestAreToldApart() {
        let truth = Factors(products: 0.95, rest: 1.3)
        let shares = (0..<200).map { 0.3 + 0.003 * Double($0) }
        let found = Factors(fitting: shares.map { ($0, truth.mean(share: $0)) })
        #expect(abs(found.products - 0.95) < 0.01 && abs(found.rest - 1.3) < 0.03)
    }

    /// Probes that are all alike in their shares say nothing of either alone.
    @Test func whatProbesCannotTellApartIsTheSame() {
        let found = Factors(fitting: (0..<12).map { _ in (0.8, 1.1) })
        #expect(abs(found.products - 1.1) < 1e-9 && abs(found.rest - 1.1) < 1e-9)
    }

    @Test func oneProbeIsEnough() {
        let found = Factors(fitting: [(1, 0.9)])
        #expect(abs(found.products - 0.9) < 1e-9 && abs(found.rest - 0.9) < 1e-9)
    }

    /// A probe that was disturbed does not turn one of them around.
    @Test func neitherIsFarFromTheMiddle() {
        // Least squares come to -0.39 for the rest.
        let found = Factors(fitting: [(0.9, 1), (0.88, 1), (0.85, 1), (0.5, 0.2), (0.4, 0.15)])
        #expect(found.rest == 0.5 && (0.9...1).contains(found.products))
    }
}
