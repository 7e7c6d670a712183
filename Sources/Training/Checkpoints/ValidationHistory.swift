/// What a run's evaluations have come to; checkpoints hold it, so that a resumed run judges by all of them.
package struct ValidationHistory: Codable, Equatable {
    /// Optimizer steps behind the evaluation with the lowest loss, the first of equal ones; nil before any.
    private(set) var bestStep: Int?
    /// Its loss in nats per token.
    private(set) var bestLoss: Double?
    /// Evaluations since then, none of which was lower.
    private(set) var evaluationsSince = 0
    /// Optimizer steps behind which an evaluation is due that a request to stop has ended.
    private(set) var postponed: Int?

    private enum CodingKeys: String, CodingKey {
        case bestStep = "best_step"
        case bestLoss = "best_loss"
        case evaluationsSince = "evaluations_since"
        case postponed
    }

    package init() {}

    /// Adds the evaluation behind step `step`. Returns whether its loss is lower than all before.
    package mutating func add(_ loss: Double, after step: Int) -> Bool {
        postponed = nil
        guard bestLoss.map({ loss < $0 }) ?? true else {
            evaluationsSince += 1
            return false
        }
        (bestStep, bestLoss, evaluationsSince) = (step, loss, 0)
        return true
    }

    /// The evaluation behind step `step` is left to who resumes the run.
    mutating func postpone(after step: Int) { postponed = step }

    /// Whether a run of so much patience ends; one of 0 never does.
    package func isHopeless(patience: Int) -> Bool { patience > 0 && evaluationsSince >= patience }

    /// Whether it can be that of a checkpoint of step `step`.
    func isInOrder(at step: Int) -> Bool {
        guard postponed == nil || postponed == step else { return false }
        guard let bestStep, let bestLoss else {
            return bestStep == nil && bestLoss == nil && evaluationsSince == 0
        }
        return (1...step).contains(bestStep) && bestLoss.isFinite
            && (0...step - bestStep).contains(evaluationsSince)
    }
}
