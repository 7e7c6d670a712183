#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Adam (Kingma and Ba 2015), as `torch.optim.Adam`: weight decay is added to the gradient.
public struct Adam: OptimizerRule {
    public var beta1: Double
    public var beta2: Double
    public var epsilon: Double

    public init(beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8) {
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
    }

    public var stateSlots: Int { 2 }

    public func update(
        parameters: Vector, gradients: Vector, state: Matrix, step: Int, learningRate: Double,
        weightDecay: Double, gradientScale: Float
    ) {
        check(parameters: parameters, gradients: gradients, state: state, step: step)
        let theta = parameters.base
        let g = gradients.base
        let decay = Float(weightDecay)
        let moments = AdamMoments(self, state: state, step: step, learningRate: learningRate)
        @inline(always) func updateLanes(_ offset: Int, _ lanes: Int) {
            let parameter = load(theta + offset, lanes)
            let gradient = parameter.multiplyAdd(decay, load(g + offset, lanes) * gradientScale)
            store(moments.advance(parameter, gradient, offset, lanes), theta + offset, lanes)
        }
        forEachLanes(parameters.count, updateLanes)
    }
}

/// What Adam and AdamW share.
///
/// m += (1 - β₁)(g - m); v = β₂v + (1 - β₂)g²; θ -= (learningRate/(1 - β₁ᵗ))·m / (√v/√(1 - β₂ᵗ) + ε).
struct AdamMoments {
    private let first: UnsafeMutablePointer<Float>
    private let second: UnsafeMutablePointer<Float>
    private let firstWeight: Float
    private let secondDecay: Float
    private let secondWeight: Float
    private let negativeStepSize: Float
    private let correction: Float
    private let epsilon: Float

    init(_ rule: Adam, state: Matrix, step: Int, learningRate: Double) {
        first = state.base
        second = state.base + state.stride
        firstWeight = Float(1 - rule.beta1)
        secondDecay = Float(rule.beta2)
        secondWeight = Float(1 - rule.beta2)
        negativeStepSize = Float(-learningRate / (1 - pow(rule.beta1, Double(step))))
        correction = Float((1 - pow(rule.beta2, Double(step))).squareRoot())
        epsilon = Float(rule.epsilon)
    }

    /// The parameters after this step, their moments moved on.
    @inline(always)
    func advance(_ parameter: Lanes, _ gradient: Lanes, _ offset: Int, _ lanes: Int) -> Lanes {
        let oldFirst = load(first + offset, lanes)
        // `lerp` measures from the nearer end, so that a weight of 1 gives the gradient exactly.
        let newFirst =
            firstWeight < 0.5
            ? (gradient - oldFirst).multiplyAdd(firstWeight, oldFirst)
            : (gradient - oldFirst).multiplyAdd(firstWeight - 1, gradient)
        let newSecond = (gradient * secondWeight).multiplyAdd(
            gradient, load(second + offset, lanes) * secondDecay)
        store(newFirst, first + offset, lanes)
        store(newSecond, second + offset, lanes)
        return parameter + newFirst * negativeStepSize / (newSecond.squareRoot() / correction + epsilon)
    }
}
