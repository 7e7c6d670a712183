/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`: θ is multiplied by
/// 1 - learningRate·weightDecay before the step.
public struct AdamW: OptimizerRule {
    private let adam: Adam

    public init(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8) {
        adam = Adam(beta1: beta1, beta2: beta2, epsilon: epsilon)
    }

    public var stateSlots: Int { adam.stateSlots }

    public func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float
    ) {
        check(parameters: parameters, gradients: gradients, state: state, step: step)
        let theta = parameters.base
        let g = gradients.base
        let shrink = Float(1 - learningRate * weightDecay)
        let moments = AdamMoments(adam, state: state, step: step, learningRate: learningRate)
        @inline(always) func updateLanes(_ offset: Int, _ lanes: Int) {
            let parameter = load(theta + offset, lanes) * shrink
            let gradient = load(g + offset, lanes) * gradientScale
            store(moments.advance(parameter, gradient, offset, lanes), theta + offset, lanes)
        }
        forEachLanes(parameters.count, updateLanes)
    }
}
