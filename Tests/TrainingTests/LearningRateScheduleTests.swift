import Configs
import Testing
import Training

@Suite struct LearningRateScheduleTests {
    private func rates(
        _ name: ScheduleConfig.Name, steps: Int, warmup: Int, final: Double = 0.1
    ) -> [Double] {
        var train = TrainConfig(steps: steps, globalBatch: 1, optimizer: OptimizerConfig(learningRate: 0.4))
        train.schedule.name = name
        train.schedule.warmupSteps = warmup
        train.schedule.finalFraction = final
        let schedule = LearningRateSchedule(train)
        return (1...steps).map { schedule.learningRate(step: $0) }
    }

    private func expectEqual(_ values: [Double], _ expected: [Double]) {
        #expect(values.count == expected.count)
        for (value, expected) in zip(values, expected) { #expect(abs(value - expected) < 1e-12) }
    }

    @Test func risesLinearlyThenStaysConstant() {
        expectEqual(rates(.constant, steps: 6, warmup: 4), [0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    }

    @Test func fallsLinearlyFromThePeakToTheFinalFraction() {
        expectEqual(rates(.linear, steps: 7, warmup: 2, final: 0), [0.2, 0.4, 0.4, 0.3, 0.2, 0.1, 0])
    }

    @Test func fallsAlongACosine() {
        let half = 0.5 * 0.4 * (1 + 0.5)
        expectEqual(
            rates(.cosine, steps: 5, warmup: 0, final: 0.5),
            [
                0.4, 0.2 + 0.1 * (1 + 0.5.squareRoot()), half, 0.2 + 0.1 * (1 - 0.5.squareRoot()), 0.2,
            ])
    }

    @Test func aRunMayBeAllWarmUpOrASingleStep() {
        expectEqual(rates(.cosine, steps: 2, warmup: 2), [0.2, 0.4])
        #expect(rates(.linear, steps: 1, warmup: 0)[0].isFinite)
    }
}
