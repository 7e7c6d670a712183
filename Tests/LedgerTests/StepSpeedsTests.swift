import Cost
import Foundation
import Ledger
import Testing

@Suite struct StepSpeedsTests {
    /// Steps whose samples say `sampled` and whose passes take as long as `slowness` says.
    private func steps(_ sampled: [Double], slowness: [Double]) -> [Double] {
        var speeds = StepSpeeds()
        for (index, (rate, seconds)) in zip(sampled, slowness).enumerated() {
            speeds.add(
                index,
                [
                    ReferenceSpeed(
                        flopsPerSecond: rate, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 1e10)
                ],
                compute: [(seconds, 1e9 / rate)])
        }
        var likely: [Double] = []
        speeds.forEach { _, ranks in likely.append(ranks[0].flopsPerSecond) }
        return likely
    }

    @Test func samplesThatStepsFollowAreBelieved() {
        let sampled = (0..<1000).map { $0.isMultiple(of: 2) ? 2e9 : 1e9 }
        let likely = steps(sampled, slowness: sampled.map { 1e9 / $0 })
        #expect(zip(likely, sampled).allSatisfy { abs($0 / $1 - 1) < 0.01 })
    }

    @Test func samplesThatTellNothingOfTheStepsAreNotBelieved() {
        let sampled = (0..<1000).map { $0.isMultiple(of: 2) ? 2e9 : 1e9 }
        let likely = steps(sampled, slowness: sampled.map { _ in 1 })
        // The geometric mean.
        #expect(likely.allSatisfy { abs($0 / 2e9.squareRoot() / 1e9.squareRoot() - 1) < 0.01 })
    }

    @Test func fewStepsCountForLittle() {
        let likely = steps([2e9, 1e9], slowness: [1, 1])
        // (2 steps of slope 0 and 3 of slope 0.7) / 5
        let slope = 0.7 * 3 / 5
        #expect(abs(likely[0] / likely[1] / exp2(slope) - 1) < 1e-9)
    }

    @Test func eachRankHasItsOwnMean() {
        var speeds = StepSpeeds()
        for step in 0..<20 {
            speeds.add(
                step,
                [1e9, 3e9].map {
                    ReferenceSpeed(
                        flopsPerSecond: $0, kernelElementsPerSecond: 1e9 / Double(1 + step % 2),
                        copyBytesPerSecond: 1e10 * Double(1 + step % 2))
                })
        }
        speeds.forEach { step, ranks in
            #expect(
                abs(ranks[0].flopsPerSecond / 1e9 - 1) < 1e-9 && abs(ranks[1].flopsPerSecond / 3e9 - 1) < 1e-9
            )
            // What the passes took is not known here: kernels and copies are believed by as much as is usual.
            let deviation = exp2(0.7 * (step.isMultiple(of: 2) ? -0.5 : 0.5))
            let copies = 1e10 * 2.0.squareRoot() * deviation
            let kernels = 1e9 / 2.0.squareRoot() / deviation
            #expect(abs(ranks[0].kernelElementsPerSecond / kernels - 1) < 1e-9)
            #expect(abs(ranks[0].copyBytesPerSecond / copies - 1) < 1e-9)
        }
    }

    /// A sample that another program interrupted says nothing of the steps of the others.
    @Test func disturbedSamplesAreOfTheirOwnStepsOnly() {
        let likely = steps([1e9, 1e9, 1e8, 1e9, 1e9, 1e9, 1e9], slowness: .init(repeating: 1, count: 7))
        for (index, rate) in likely.enumerated() where index != 2 { #expect(abs(rate / 1e9 - 1) < 1e-9) }
    }

    @Test func withoutStepsThereIsNothing() {
        StepSpeeds().forEach { _, _ in Issue.record("a step") }
    }
}
