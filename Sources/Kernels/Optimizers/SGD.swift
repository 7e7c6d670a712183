/// Stochastic gradient descent with momentum, as `torch.optim.SGD` (Sutskever et al. 2013).
///
/// g += weightDecay·θ; buffer = momentum·buffer + g; θ -= learningRate·(Nesterov: g + momentum·buffer, else buffer).
public struct SGD: OptimizerRule {
    public var momentum: Double
    public var nesterov: Bool

    public init(momentum: Double = 0, nesterov: Bool = false) {
        precondition(momentum >= 0 && (!nesterov || momentum > 0), "Nesterov's step needs a momentum above 0")
        self.momentum = momentum
        self.nesterov = nesterov
    }

    public var stateSlots: Int { momentum == 0 ? 0 : 1 }

    public func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float
    ) {
        check(parameters: parameters, gradients: gradients, state: state, step: step)
        let theta = parameters.base
        let g = gradients.base
        let buffer = state.base
        let rate = Float(-learningRate)
        let decay = Float(weightDecay)
        let hasMomentum = momentum != 0
        let momentum = Float(self.momentum)
        let nesterov = self.nesterov
        @inline(always) func updateLanes(_ offset: Int, _ lanes: Int) {
            let parameter = load(theta + offset, lanes)
            var direction = parameter.multiplyAdd(decay, load(g + offset, lanes) * gradientScale)
            if hasMomentum {
                let velocity = load(buffer + offset, lanes) * momentum + direction
                store(velocity, buffer + offset, lanes)
                direction = nesterov ? velocity.multiplyAdd(momentum, direction) : velocity
            }
            store(direction.multiplyAdd(rate, parameter), theta + offset, lanes)
        }
        forEachLanes(parameters.count, updateLanes)
    }
}
