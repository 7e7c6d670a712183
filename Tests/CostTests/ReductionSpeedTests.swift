import Configs
import Cost
import CostTestSupport
import Testing

/// How the time of reductions follows the reference exchange, and the probes of about their size.
@Suite struct ReductionSpeedTests {
    private func estimate(exchange: Double?) throws -> Estimate {
        var profile = Profile.uniform(layouts: [(2, 1)])
        profile.layouts[0].reference.exchangeBytesPerSecond = exchange
        return try Estimate(config: config(), ranks: 2, profile: profile)
    }

    private func atSpeed(_ estimate: Estimate, exchange: Double?) throws -> Estimate.Time {
        var speed = try #require(estimate.time.limits).reference
        speed.exchangeBytesPerSecond = exchange
        return try #require(estimate.atSpeed([speed, speed]).first).time
    }

    @Test func aSlowerExchangeAddsHalfOfItsTimeForEveryByte() throws {
        let calibrated = try estimate(exchange: 1e10)
        let (then, now) = (calibrated.time, try atSpeed(calibrated, exchange: 1e6))
        let later = 0.5 * Double(calibrated.memory.gradients) * (1e-6 - 1e-10)
        let (before, after) = (try #require(then.reduction), try #require(now.reduction))
        #expect(before > 0 && abs(after - before - later) < 1e-9 * later)
        let steps = (try #require(then.step), try #require(now.step))
        #expect(abs(steps.1 - steps.0 - (now.wait! - then.wait!) - later) < 1e-9 * later)
        // Of a faster one, something is left.
        let fast = try atSpeed(try estimate(exchange: 1e6), exchange: 1e12)
        #expect(abs(try #require(fast.reduction) / before - 0.25) < 1e-9)
    }

    @Test func withoutAnExchangeReductionsStay() throws {
        for (then, now) in [(nil, 1e6), (1e10, nil), (nil, nil)] as [(Double?, Double?)] {
            let calibrated = try estimate(exchange: then)
            #expect(try atSpeed(calibrated, exchange: now).reduction == calibrated.time.reduction)
        }
    }

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
        #expect((2...3).contains(factor(1 << 20, true)))
        // Far from all probes, the factor of all holds.
        #expect(abs(factor(1 << 50) - 1) < 0.01)
    }
}
