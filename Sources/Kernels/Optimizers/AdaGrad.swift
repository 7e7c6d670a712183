/// AdaGrad (Duchi, Hazan and Singer 2011), as `torch.optim.Adagrad` without learning-rate decay.
///
/// g += weightDecay·θ; v += g²; θ -= learningRate·g / (√v + ε).
public struct AdaGrad: OptimizerRule {
    public var epsilon: Double

    public init(epsilon: Double = 1e-10) {
        self.epsilon = epsilon
    }

    public var stateSlots: Int { 1 }

    public func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float
    ) {
        check(parameters: parameters, gradients: gradients, state: state, step: step)
        let theta = parameters.base
        let g = gradients.base
        let squares = state.base
        let rate = Float(-learningRate)
        let decay = Float(weightDecay)
        let epsilon = Float(self.epsilon)
        @inline(always) func updateLanes(_ offset: Int, _ lanes: Int) {
            let parameter = load(theta + offset, lanes)
            let gradient = parameter.multiplyAdd(decay, load(g + offset, lanes) * gradientScale)
            let sum = gradient.multiplyAdd(gradient, load(squares + offset, lanes))
            store(sum, squares + offset, lanes)
            store(parameter + gradient * rate / (sum.squareRoot() + epsilon), theta + offset, lanes)
        }
        forEachLanes(parameters.count, updateLanes)
    }
}
