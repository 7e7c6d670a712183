import Kernels

/// Y = X·Wᵀ + b (`torch.nn.Linear`).
///
/// Keeps nothing for backward: the caller hands the input back. FLOPs: 2·t·in·out forward, twice that backward.
struct LinearLayer {
    private let weight: Slot
    private let bias: Slot

    init(_ name: String, inputs: Int, outputs: Int, standardDeviation: Float, plan: inout ModelPlan) {
        weight = plan.parameters.add(
            "\(name).weight", shape: [outputs, inputs],
            initialization: .normal(standardDeviation: standardDeviation))
        bias = plan.parameters.add("\(name).bias", shape: [outputs], initialization: .zeros)
    }

    /// `x` `[t, in]` → `y` `[t, out]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        pass.matmul.forward(x, weight: pass.parameter(weight), bias: pass.parameter(bias), into: y)
    }

    /// From `dy` `[t, out]` and the forward's `x` `[t, in]`: adds the parameters' gradients, writes `dx` `[t, in]`.
    /// Calls `pause` in between.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        pass.matmul.weightGradient(dy, x, into: pass.gradient(weight))
        BiasGradient.accumulate(dy, into: pass.gradient(bias), on: pass.team)
        try pause()
        pass.matmul.inputGradient(dy, weight: pass.parameter(weight), into: dx)
    }
}
