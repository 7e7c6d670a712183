import Cost
import Foundation

/// How fast the ranks were in each of some steps, of which samples of a few milliseconds are all that is known.
///
/// Where a core's speed changes within a step, its samples stray farther than the step's own speed does. Their deviations
/// from the rank's mean are therefore taken for what they are worth: the slope of the steps' times over the sampled ones,
/// which errors of the samples make flatter than 1 (Fuller, Measurement Error Models, 1987, chapter 1).
package struct StepSpeeds {
    private var steps: [(number: Int, ranks: [ReferenceSpeed])] = []
    /// Logarithms of `Compute`'s seconds, by step and rank.
    private var measured: [[Double]] = []
    private var expected: [[Double]] = []

    /// The slope as far as too few steps tell none, and how many of them count as much as that.
    private static let usual = (slope: 0.7, steps: 3.0)

    /// Seconds of a rank's forward and backward pass: what they took, and what is expected of them at the sampled speed.
    package typealias Compute = (measured: Double, expected: Double)

    package init() {}

    /// Of a rank's step, and of the estimate at the speed that the rank had.
    package static func compute(_ step: StepSample, _ expected: Estimate.Time) -> Compute {
        (step.seconds.forward + step.seconds.backward, (expected.forward ?? 0) + (expected.backward ?? 0))
    }

    /// Adds a step.
    ///
    /// - Parameters:
    ///   - ranks: speeds of all ranks, as many in every step.
    ///   - compute: of every rank; empty when it is not known.
    package mutating func add(_ number: Int, _ ranks: [ReferenceSpeed], compute: [Compute] = []) {
        steps.append((number, ranks))
        measured.append(compute.map { log(max($0.measured, 1e-12)) })
        expected.append(compute.map { log(max($0.expected, 1e-12)) })
    }

    /// Every step with the likely speeds of its ranks; of exchanges and handovers, those that were sampled.
    package func forEach(_ body: (_ number: Int, _ ranks: [ReferenceSpeed]) -> Void) {
        let (products, kernels) = (deviations(\.flopsPerSecond), deviations(\.kernelElementsPerSecond))
        let copies = deviations(\.copyBytesPerSecond)
        let slope = slope
        func likely(_ speeds: Deviations, _ index: Int, _ rank: Int) -> Double {
            exp(speeds.means[rank] + slope * speeds.steps[index][rank])
        }
        for (index, step) in steps.enumerated() {
            var ranks = step.ranks
            for rank in ranks.indices {
                ranks[rank].flopsPerSecond = likely(products, index, rank)
                ranks[rank].kernelElementsPerSecond = likely(kernels, index, rank)
                ranks[rank].copyBytesPerSecond = likely(copies, index, rank)
            }
            body(step.number, ranks)
        }
    }

    /// The mean logarithm of every rank's speed in its usual steps, and by step and rank what it differs by.
    private typealias Deviations = (means: [Double], steps: [[Double]])

    private func deviations(_ speed: KeyPath<ReferenceSpeed, Double>) -> Deviations {
        Self.deviations(steps.map { $0.ranks.map { log($0[keyPath: speed]) } })
    }

    private static func deviations(_ steps: [[Double]]) -> Deviations {
        let means = (steps.first ?? []).indices.map { rank in interquartileMean(steps.map { $0[rank] }) }
        return (means, steps.map { zip($0, means).map { $0 - $1 } })
    }

    /// Other programs can make a sample several times as long, but not a whole step.
    private static func interquartileMean(_ values: [Double]) -> Double {
        let middle = values.sorted().dropFirst(values.count / 4).dropLast(values.count / 4)
        return middle.reduce(0, +) / Double(middle.count)
    }

    private var slope: Double {
        let isKnown = zip(expected, steps).allSatisfy { $0.count == $1.ranks.count }
        guard isKnown else { return Self.usual.slope }
        let pairs = zip(Self.deviations(expected).steps.joined(), Self.deviations(measured).steps.joined())
        let squares = pairs.reduce(0) { $0 + $1.0 * $1.0 }
        guard squares > 0 else { return Self.usual.slope }
        let found = pairs.reduce(0) { $0 + $1.0 * $1.1 } / squares
        let count = Double(steps.count)
        let mixed = (count * found + Self.usual.steps * Self.usual.slope) / (count + Self.usual.steps)
        return min(1, max(0, mixed))
    }
}
