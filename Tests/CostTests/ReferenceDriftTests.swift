import Cost
import Testing

/// How fast reductions are expected on a machine that has drifted.
@Suite struct ReferenceDriftTests {
    private static let one = ReferenceSpeed(
        flopsPerSecond: 1e11, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 2e10,
        exchange: .init(cached: 2.2e10, gradients: 1.4e10, shards: 1e10))
    /// Of the same cores, when they share no cache any more.
    private static let other = ReferenceSpeed(
        flopsPerSecond: 1e11, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 3e10,
        exchange: .init(cached: 1e10, gradients: 1.2e10, shards: 1.2e10))

    private static let shares: [HostExchange.Shares] = [
        .init(caches: 0, messages: 0), .init(caches: 0.3, messages: 0.2), .init(caches: 1, messages: 0),
    ]

    @Test(arguments: [false, true], shares)
    func itDoesNotMatterWhichSpeedIsTheCalibratedOne(isSharded: Bool, shares: HostExchange.Shares) {
        let there = ReferenceDrift(of: Self.other, from: Self.one).exchanges(isSharded: isSharded, shares)
        let back = ReferenceDrift(of: Self.one, from: Self.other).exchanges(isSharded: isSharded, shares)
        #expect(abs(there * back - 1) < 1e-12)
        #expect(there != 1)
    }

    /// A machine that is half as fast at exchanges, copies and kernels is half as fast at exchanges of any kind.
    @Test(arguments: [false, true], shares)
    func aSlowMachineIsSlowAtAll(isSharded: Bool, shares: HostExchange.Shares) {
        var half = Self.one
        half.exchange = .init(cached: 1.1e10, gradients: 0.7e10, shards: 0.5e10)
        half.copyBytesPerSecond = 1e10
        half.kernelElementsPerSecond = 0.5e9
        let drift = ReferenceDrift(of: half, from: Self.one)
        #expect(abs(drift.exchanges(isSharded: isSharded, shares) - 0.5) < 1e-12)
    }

    /// Cores that share no cache sum more slowly, above all what caches hold, and exchange faster what comes from memory twice.
    @Test func exchangesGoWithWhatTheyDependOn() {
        let drift = ReferenceDrift(of: Self.other, from: Self.one)
        let ofShards = (1.2 * 1.5).squareRoot()
        let expected: [(isSharded: Bool, caches: Double, messages: Double, drift: Double)] = [
            (false, 0, 0, 1.2 / 1.4), (false, 1, 0, 1 / 2.2), (false, 0.5, 0, (1.2 / 1.4 / 2.2).squareRoot()),
            (true, 0, 0, ofShards), (true, 1, 0, 1 / 2.2), (true, 0.5, 0, (ofShards / 2.2).squareRoot()),
            (false, 0, 1, 1), (true, 0, 0.5, ofShards.squareRoot()),
        ]
        for (isSharded, caches, messages, expected) in expected {
            let found = drift.exchanges(isSharded: isSharded, .init(caches: caches, messages: messages))
            #expect(abs(found - expected) < 1e-12, "sharded: \(isSharded), \(caches), \(messages)")
        }
    }

    @Test func exchangesThatAreNotKnownDoNotCount() {
        var alone = Self.other
        alone.exchange = nil
        let drift = ReferenceDrift(of: alone, from: Self.one)
        #expect(drift.cachedExchanges == 1 && drift.gradientExchanges == 1 && drift.shardExchanges == 1)
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
