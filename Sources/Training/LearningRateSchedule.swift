import Configs
import Foundation

/// Learning rate of every step: a linear warm-up to the peak, then constant, linear or cosine decay.
public struct LearningRateSchedule: Sendable {
    private let shape: ScheduleConfig.Name
    private let peak: Double
    private let warmupSteps: Int
    private let steps: Int
    private let finalFraction: Double

    public init(_ train: TrainConfig) {
        shape = train.schedule.name
        peak = train.optimizer.learningRate
        warmupSteps = train.schedule.warmupSteps
        steps = train.steps
        finalFraction = train.schedule.finalFraction
    }

    /// Learning rate of `step`, counted from 1. The step after warm-up has the peak; the last one has
    /// `finalFraction` of it, except that a constant schedule stays at the peak.
    public func learningRate(step: Int) -> Double {
        if step <= warmupSteps { return peak * Double(step) / Double(warmupSteps) }
        let decaySteps = steps - warmupSteps - 1
        let progress = decaySteps > 0 ? min(1, Double(step - warmupSteps - 1) / Double(decaySteps)) : 1
        switch shape {
        case .constant:
            return peak
        case .linear:
            return peak * (1 - (1 - finalFraction) * progress)
        case .cosine:
            return peak * (finalFraction + (1 - finalFraction) * 0.5 * (1 + cos(Double.pi * progress)))
        }
    }
}
