/// How an optimizer changes parameters; a new optimizer is one type that conforms.
///
/// A rule holds hyper-parameters only; its state lies in a matrix that the caller owns. Every rule repeats the
/// arithmetic of its PyTorch namesake, in single precision and in the same order.
public protocol OptimizerRule: Sendable {
    /// fp32 numbers of state per parameter.
    var stateSlots: Int { get }

    /// One step over n parameters, in place.
    ///
    /// - Parameters:
    ///   - parameters: [n]
    ///   - gradients: [n]; each is multiplied by `gradientScale` as it is read.
    ///   - state: [stateSlots, n]; all zero before the first step. Rows may be any stride apart.
    ///   - step: number of this step, from 1.
    ///   - learningRate: of this step.
    ///   - weightDecay: 0 where it does not apply.
    ///   - gradientScale: 1/tokens times the clipping factor, for example.
    func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float)
}

extension OptimizerRule {
    /// The same, split over a team.
    public func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float, on team: ThreadTeam
    ) {
        check(parameters: parameters, gradients: gradients, state: state, step: step)
        split(
            self, parameters, gradients, state, step, learningRate, weightDecay, gradientScale, on: team)
    }

    @inline(always)
    func check(parameters: Vector, gradients: Vector, state: Matrix, step: Int) {
        precondition(
            gradients.count == parameters.count,
            "\(gradients.count) gradients of \(parameters.count) parameters")
        precondition(
            state.rows == stateSlots && (stateSlots == 0 || state.columns == parameters.count),
            "a state of \(state.shape), not \(stateSlots) × \(parameters.count)")
        precondition(step >= 1, "steps count from 1, not from \(step)")
    }
}

/// Not generic over the rule, since a closure would then capture its type.
private func split(
    _ rule: any OptimizerRule, _ parameters: Vector, _ gradients: Vector, _ state: Matrix, _ step: Int,
    _ learningRate: Double, _ weightDecay: Double, _ gradientScale: Float, on team: ThreadTeam
) {
    team.split(
        parameters.count, grain: 16,
        (rule, parameters, gradients, state, step, learningRate, weightDecay, gradientScale)
    ) { operands, range, _ in
        let (rule, parameters, gradients, state, step, learningRate, weightDecay, scale) = operands
        rule.update(
            parameters: parameters.slice(range), gradients: gradients.slice(range),
            state: rule.stateSlots == 0 ? state : state.columns(range), step: step,
            learningRate: learningRate, weightDecay: weightDecay, gradientScale: scale)
    }
}
