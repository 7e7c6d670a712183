import Cost
import Testing

/// How fast reductions are expected on a machine that has drifted.
@Suite struct ReferenceDriftTests {
    private static let one = ReferenceSpeed(
        flopsPerSecond: 1e11, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 2e10,
        exchangeBytesPerSecond: 2.2e10)
    /// Of the same cores, when they share no cache any more.
    private static let other = ReferenceSpeed(
        flopsPerSecond: 1e11, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 3e10,
        exchangeBytesPerSecond: 1e10)

    @Test(arguments: [1 << 14, 1 << 22, 1 << 26, 1 << 30])
    func itDoesNotMatterWhichSpeedIsTheCalibratedOne(bytes: Int) {
        let there = ReferenceDrift(of: Self.other, from: Self.one).reductions(bytes: bytes)
        let back = ReferenceDrift(of: Self.one, from: Self.other).reductions(bytes: bytes)
        #expect(abs(there * back - 1) < 1e-12 && there < 1)
    }

    @Test func whatCachesHoldDoesNotGoWithCopies() {
        func speed(_ bytes: Int) -> Double {
            ReferenceDrift(of: Self.other, from: Self.one).reductions(bytes: bytes)
        }
        #expect(speed(1 << 20) == speed(1 << 22))
        #expect(speed(1 << 22) < speed(1 << 24) && speed(1 << 24) < speed(1 << 28))
    }

    /// A machine that is half as fast in all is half as fast at reductions of any size.
    @Test(arguments: [1 << 14, 1 << 22, 1 << 26, 1 << 30])
    func aSlowMachineIsSlowAtAnySize(bytes: Int) {
        let half = ReferenceSpeed(
            flopsPerSecond: 5e10, kernelElementsPerSecond: 5e8, copyBytesPerSecond: 1e10,
            exchangeBytesPerSecond: 1.1e10)
        #expect(abs(ReferenceDrift(of: half, from: Self.one).reductions(bytes: bytes) - 0.5) < 1e-12)
    }

    @Test func exchangesThatAreNotKnownDoNotCount() {
        var alone = Self.other
        alone.exchangeBytesPerSecond = nil
        #expect(ReferenceDrift(of: alone, from: Self.one).exchanges == 1)
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
