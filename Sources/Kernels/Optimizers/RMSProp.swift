/// RMSProp (Hinton 2012), as `torch.optim.RMSprop`, not centred.
///
/// g += weightDecay·θ; v = αv + (1 - α)g²; d = g / (√v + ε); with momentum: buffer = momentum·buffer + d, d = buffer;
/// θ -= learningRate·d.
public struct RMSProp: OptimizerRule {
    /// Smoothing constant α.
    public var alpha: Double
    public var epsilon: Double
    public var momentum: Double

    public init(alpha: Double = 0.99, epsilon: Double = 1e-8, momentum: Double = 0) {
        self.alpha = alpha
        self.epsilon = epsilon
        self.momentum = momentum
    }

    public var stateSlots: Int { momentum > 0 ? 2 : 1 }

    public func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float
    ) {
        check(parameters: parameters, gradients: gradients, state: state, step: step)
        let theta = parameters.base
        let g = gradients.base
        let squares = state.base
        let buffer = state.base + state.stride
        let rate = Float(-learningRate)
        let decay = Float(weightDecay)
        let alpha = Float(self.alpha)
        let weight = Float(1 - self.alpha)
        let epsilon = Float(self.epsilon)
        let hasMomentum = momentum > 0
        let momentum = Float(self.momentum)
        @inline(always) func updateLanes(_ offset: Int, _ lanes: Int) {
            let parameter = load(theta + offset, lanes)
            let gradient = parameter.multiplyAdd(decay, load(g + offset, lanes) * gradientScale)
            let square = (gradient * weight).multiplyAdd(gradient, load(squares + offset, lanes) * alpha)
            store(square, squares + offset, lanes)
            let denominator = square.squareRoot() + epsilon
            if hasMomentum {
                let velocity = load(buffer + offset, lanes) * momentum + gradient / denominator
                store(velocity, buffer + offset, lanes)
                store(velocity.multiplyAdd(rate, parameter), theta + offset, lanes)
            } else {
                store(parameter + gradient * rate / denominator, theta + offset, lanes)
            }
        }
        forEachLanes(parameters.count, updateLanes)
    }
}
