import Configs
import Foundation

/// What is to be trained, and by when.
public struct PlanGoal: Sendable {
    /// Optimizer steps.
    public let steps: Int
    /// That these steps see.
    public let tokens: Double
    /// Seconds that training may take; nil for as fast as can be.
    public let deadline: Double?

    /// - Parameter tokens: to train on, rounded up to whole steps; nil for the steps of `config`.
    public init(_ config: RunConfig, tokens: Double?, deadline: Double?) {
        let perStep = Double(config.train.globalBatch) * Double(config.model.contextLength)
        steps = tokens.map { Int(min(1e15, ($0 / perStep).rounded(.up))) } ?? config.train.steps
        self.tokens = Double(steps) * perStep
        self.deadline = deadline
    }
}

/// A layout with what it costs.
public struct PlanCandidate: Sendable, Encodable {
    public let layout: PlanLayout
    /// Bytes of rank 0 and of its node.
    public let rankMemory: Int
    public let nodeMemory: Int
    /// Of a step.
    public let stepSeconds: Double
    /// Of a step, beside the ranks' own work.
    public let reductionSeconds: Double
    /// Relative error of times that nine of ten runs are expected to stay within.
    public let uncertainty: Double
    public let tokensPerSecond: Double
    /// Tokens a second over those that as many cores would reach, did each work alone.
    public let efficiency: Double
    /// Of the whole training, with its evaluations and checkpoints.
    public let seconds: Double
    /// Of all nodes; nil when the cluster file has no watts.
    public let kilowattHours: Double?
    /// Of all nodes; nil when the cluster file has no price.
    public let price: Double?

    public var nodeHours: Double { Double(layout.nodes) * seconds / 3600 }

    enum CodingKeys: String, CodingKey {
        case layout, uncertainty, efficiency, seconds, price
        case rankMemory = "rank_memory_bytes"
        case nodeMemory = "node_memory_bytes"
        case stepSeconds = "step_seconds"
        case reductionSeconds = "reduction_seconds"
        case tokensPerSecond = "tokens_per_second"
        case kilowattHours = "kilowatt_hours"
    }

    /// - Parameters:
    ///   - sequenceSeconds: that a core alone takes for a sequence.
    ///   - measuredCores: that were at work at once when the machine was calibrated.
    init?(
        _ layout: PlanLayout, _ config: RunConfig, _ estimate: Estimate, _ cluster: ClusterConfig,
        _ goal: PlanGoal, sequenceSeconds: Double, measuredCores: Int
    ) {
        let time = estimate.time
        guard let step = time.step, let reduction = time.reduction, let calibrated = time.uncertainty,
            let rank = estimate.memory.peak, let node = estimate.memory.node
        else { return nil }
        self.layout = layout
        (rankMemory, nodeMemory, stepSeconds, reductionSeconds) = (rank, node, step, reduction)
        let batch = Double(config.train.globalBatch)
        tokensPerSecond = batch * Double(config.model.contextLength) / step
        let cores = Double(layout.ranks * layout.threads)
        efficiency = batch * sequenceSeconds / (cores * step)

        // Assumed: a tenth for each doubling of the cores beyond those that were seen sharing memory, and a quarter of the
        // reduction where the network is what a file says.
        let unseen = max(0, log2(Double(layout.ranksPerNode * layout.threads) / Double(measuredCores)))
        let onPaper = layout.nodes > 1 ? 0.25 * reduction / step : 0
        uncertainty = (calibrated * calibrated + 0.01 * unseen * unseen + onPaper * onPaper).squareRoot()

        func times(every interval: Int) -> Double {
            interval > 0 ? (Double(goal.steps) / Double(interval)).rounded(.up) : 1
        }
        seconds =
            Double(goal.steps) * step + times(every: config.train.evaluateEvery) * (time.evaluation ?? 0)
            + times(every: config.train.checkpointEvery) * (time.checkpoint ?? 0)
        let nodeHours = Double(layout.nodes) * seconds / 3600
        kilowattHours = cluster.watts.map { $0 * nodeHours / 1000 }
        price = cluster.pricePerNodeHour.map { $0 * nodeHours }
    }
}
