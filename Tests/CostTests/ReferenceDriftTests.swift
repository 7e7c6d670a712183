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

    @Test(arguments: [false, true], [0, 0.3, 1])
    func itDoesNotMatterWhichSpeedIsTheCalibratedOne(isSharded: Bool, ofCaches: Double) {
        func drift(_ speed: ReferenceSpeed, from calibrated: ReferenceSpeed) -> Double {
            ReferenceDrift(of: speed, from: calibrated).exchanges(isSharded: isSharded, ofCaches: ofCaches)
        }
        let there = drift(Self.other, from: Self.one)
        #expect(abs(there * drift(Self.one, from: Self.other) - 1) < 1e-12)
        #expect(there != 1)
    }

    /// On a machine that is half as fast at all references, sums are slower, but less so.
    @Test(arguments: [false, true], [0, 0.3, 1])
    func sumsChangeLessThanTheirReferences(isSharded: Bool, ofCaches: Double) {
        var half = Self.one
        half.exchange = .init(cached: 1.1e10, gradients: 0.7e10, shards: 0.5e10)
        let references = ReferenceDrift(of: half, from: Self.one)
        let drift = references.exchanges(isSharded: isSharded, ofCaches: ofCaches)
        #expect(drift > 0.5 && drift < 0.75)
    }

    /// Cores that share no cache sum more slowly, above all what caches hold, and exchange faster what comes from memory twice.
    @Test func exchangesGoWithCachesAsFarAsTheyComeFromThem() {
        let drift = ReferenceDrift(of: Self.other, from: Self.one)
        let expected: [(isSharded: Bool, ofCaches: Double, drift: Double)] = [
            (false, 0, (1.2 / 1.4).squareRoot()), (false, 1, (1 / 2.2).squareRoot()),
            (false, 0.5, (1.2 / 1.4 / 2.2).squareRoot().squareRoot()),
            (true, 0, 1.2 / 1.2.squareRoot().squareRoot()), (true, 1, (1 / 2.2).squareRoot()),
            (true, 0.5, (1.2 / 1.2.squareRoot().squareRoot() / 2.2.squareRoot()).squareRoot()),
        ]
        for (isSharded, ofCaches, expected) in expected {
            let found = drift.exchanges(isSharded: isSharded, ofCaches: ofCaches)
            #expect(abs(found - expected) < 1e-12, "sharded: \(isSharded), of caches: \(ofCaches)")
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
