import Cost
import Foundation

/// How fast the ranks were in each of some steps, of which samples of a few milliseconds are all that is known.
///
/// Where a core's speed changes within a step, its samples stray farther than the step's own speed does. Their deviations
/// from the rank's mean are therefore taken for what they are worth: the slope of the steps' times over the sampled ones,
/// which errors of the samples make flatter than 1 (Fuller, Measurement Error Models, 1987, chapter 1).
package struct StepSpeeds {
    private var steps: [(number: Int, ranks: [StepSample.Speed])] = []
    /// ln(seconds of forward and backward), by step and rank.
    private var computed: [[Double]] = []

    /// The slope as far as too few steps tell none, and how many of them count as much as that.
    private static let usual = (slope: 0.7, steps: 10.0)

    package init() {}

    /// Adds a step.
    ///
    /// - Parameters:
    ///   - ranks: speeds of all ranks, as many in every step.
    ///   - compute: seconds of every rank's forward and backward pass; empty when they are not known.
    package mutating func add(_ number: Int, _ ranks: [StepSample.Speed], compute: [Double] = []) {
        steps.append((number, ranks))
        computed.append(compute.map { log(max($0, 1e-12)) })
    }

    /// Every step with the likely speeds of its ranks.
    package func forEach(_ body: (_ number: Int, _ ranks: [ReferenceSpeed]) -> Void) {
        guard let ranks = steps.first?.ranks.count else { return }
        let (products, copies) = (deviations(\.flopsPerSecond), deviations(\.copyBytesPerSecond))
        let slope = slope(products)
        for index in steps.indices {
            body(
                steps[index].number,
                (0..<ranks).map { rank in
                    ReferenceSpeed(
                        StepSample.Speed(
                            flopsPerSecond: exp(products.means[rank] + slope * products.steps[index][rank]),
                            copyBytesPerSecond: exp(copies.means[rank] + slope * copies.steps[index][rank])))
                })
        }
    }

    /// The mean logarithm of every rank's speed, and by step and rank what it differs by.
    private typealias Deviations = (means: [Double], steps: [[Double]])

    private func deviations(_ speed: KeyPath<StepSample.Speed, Double>) -> Deviations {
        Self.deviations(steps.map { $0.ranks.map { log($0[keyPath: speed]) } })
    }

    private static func deviations(_ steps: [[Double]]) -> Deviations {
        let means = (steps.first ?? []).indices.map { rank in
            steps.reduce(0) { $0 + $1[rank] } / Double(steps.count)
        }
        return (means, steps.map { zip($0, means).map { $0 - $1 } })
    }

    private func slope(_ products: Deviations) -> Double {
        let isKnown = zip(computed, steps).allSatisfy { $0.count == $1.ranks.count }
        guard isKnown else { return Self.usual.slope }
        let pairs = zip(products.steps.joined(), Self.deviations(computed).steps.joined())
        let squares = pairs.reduce(0) { $0 + $1.0 * $1.0 }
        guard squares > 0 else { return Self.usual.slope }
        let found = -pairs.reduce(0) { $0 + $1.0 * $1.1 } / squares
        let count = Double(steps.count)
        let mixed = (count * found + Self.usual.steps * Self.usual.slope) / (count + Self.usual.steps)
        return min(1, max(0, mixed))
    }
}
