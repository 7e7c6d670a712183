import Cost
import Testing

/// How fast reductions are expected on a machine that has drifted.
@Suite struct ReferenceDriftTests {
    private static let one = ReferenceSpeed(
        flopsPerSecond: 1e11, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 2e10,
        exchangeBytesPerSecond: 2.2e10, coldExchangeBytesPerSecond: 1e10)
    /// Of the same cores, when they share no cache any more.
    private static let other = ReferenceSpeed(
        flopsPerSecond: 1e11, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 3e10,
        exchangeBytesPerSecond: 1e10, coldExchangeBytesPerSecond: 1.2e10)

    @Test(arguments: [0, 0.3, 1])
    func itDoesNotMatterWhichSpeedIsTheCalibratedOne(ofCaches: Double) {
        let there = ReferenceDrift(of: Self.other, from: Self.one).exchanges(ofCaches: ofCaches)
        let back = ReferenceDrift(of: Self.one, from: Self.other).exchanges(ofCaches: ofCaches)
        #expect(abs(there * back - 1) < 1e-12)
        #expect(there != 1)
    }

    /// A machine that is half as fast at exchanges and copies is half as fast at exchanges of any kind.
    @Test(arguments: [0, 0.3, 1])
    func aSlowMachineIsSlowAtAll(ofCaches: Double) {
        var half = Self.one
        half.exchangeBytesPerSecond = 1.1e10
        half.coldExchangeBytesPerSecond = 5e9
        half.copyBytesPerSecond = 1e10
        #expect(abs(ReferenceDrift(of: half, from: Self.one).exchanges(ofCaches: ofCaches) - 0.5) < 1e-12)
    }

    /// Cores that share no cache exchange more slowly what caches hold, and faster what comes from memory.
    @Test func exchangesGoWithCachesAsFarAsTheyComeFromThem() {
        let drift = ReferenceDrift(of: Self.other, from: Self.one)
        #expect(abs(drift.exchanges(ofCaches: 0) - (1.2 * 1.5).squareRoot()) < 1e-12)
        #expect(abs(drift.exchanges(ofCaches: 1) - 1 / 2.2) < 1e-12)
        #expect(abs(drift.exchanges(ofCaches: 0.5) - ((1.2 * 1.5).squareRoot() / 2.2).squareRoot()) < 1e-12)
    }

    @Test func exchangesThatAreNotKnownDoNotCount() {
        var alone = Self.other
        alone.exchangeBytesPerSecond = nil
        alone.coldExchangeBytesPerSecond = nil
        let drift = ReferenceDrift(of: alone, from: Self.one)
        #expect(drift.exchanges == 1 && drift.coldExchanges == 1)
    }

    /// Samples of milliseconds tell then whose turn on a core it was.
    @Test func whereRanksTookTurnsNothingCountsAsChanged() {
        var turns = Self.one
        turns.productSpread = 1.1
        let drift = ReferenceDrift(of: Self.other, from: turns)
        #expect(drift == ReferenceDrift(of: Self.one, from: Self.one))
        turns.productSpread = 0.3
        #expect(ReferenceDrift(of: Self.other, from: turns) == ReferenceDrift(of: Self.other, from: Self.one))
    }
}
