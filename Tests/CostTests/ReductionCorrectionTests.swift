import Configs
import Cost
import CostTestSupport
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
        // Those of its own kind.
        #expect(abs(factor(1 << 26, true) - 3) < 1e-9 && abs(factor(1 << 26) - 0.5) < 1e-9)
        // Gradients that caches hold follow the probe whose step they held, and beyond the caches all steps are alike.
        #expect(abs(factor(1 << 20, footprint: 1 << 20) - 0.25) < 1e-9)
        #expect(factor(1 << 20, footprint: 1 << 30) == factor(1 << 20, footprint: 1 << 27))
        // Far from all probes, the factor of all holds.
        #expect(abs(factor(1 << 50) - 1) < 0.01)
    }

    @Test func whatComesFromMemoryTwiceTakesItsOwnTime() {
        func samples(_ factor: Double) -> [ReductionModel.Sample] {
            [(1 << 20, 1e-4), (1 << 26, 5e-3)].map { .init(bytes: $0.0, seconds: factor * $0.1) }
        }
        func seconds(_ coldSamples: [ReductionModel.Sample], coldShare: Double) -> Double {
            ReductionModel(
                algorithm: "ring", ranks: 2, hosts: 1, samples: samples(1), coldSamples: coldSamples,
                bucketBytes: 1 << 20
            ).seconds(bytes: 1 << 23, coldShare: coldShare, bucketBytes: 1 << 20)
        }
        let once = seconds([], coldShare: 0)
        #expect(once > 1e-4 && once < 5e-3)
        #expect(seconds([], coldShare: 1) == once && seconds(samples(2), coldShare: 0) == once)
        #expect(abs(seconds(samples(2), coldShare: 1) / once - 2) < 1e-12)
        #expect(abs(seconds(samples(2), coldShare: 0.25) / once - 1.25) < 1e-12)
    }

    /// Sums that are copied at once come from caches, whatever their size.
    @Test func shardsComeFromMemory() {
        #expect(HostExchange(bytes: 16 << 20, isSharded: true).coldShare == 0.75)
        #expect(HostExchange(bytes: 1 << 20, isSharded: true).coldShare == 0)
        #expect(HostExchange(bytes: 16 << 20, isSharded: false).coldShare == 0)
    }

    /// Exchanges of what caches hold then take twice as long, and of those from memory shards are a fifth faster.
    @Test(arguments: [(false, true), (true, false)])
    func whereCoresShareNoCacheSumsAreSlowerAndShardsFaster(isSharded: Bool, isSlower: Bool) throws {
        var config = w1()
        config.parallel.optimizerSharding = isSharded
        let estimate = try Estimate(config: config, ranks: 2, profile: .example())
        var speed = try #require(estimate.time.limits?.reference)
        speed.exchange?.cached /= 2
        speed.exchange?.gradients /= 1.2
        speed.exchange?.shards *= 1.2
        let before = try #require(estimate.time.reduction)
        for rank in estimate.atSpeed([speed, speed]) {
            let after = try #require(rank.time.reduction)
            #expect((after > before) == isSlower && abs(after / before - 1) > 0.05)
        }
    }
}
