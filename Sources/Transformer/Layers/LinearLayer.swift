import Configs
import Kernels

/// Y = X·Wᵀ + b (`torch.nn.Linear`), b where the model has biases.
///
/// Keeps nothing for backward: the caller hands the input back. FLOPs: 2·t·in·out forward, twice that backward.
struct LinearLayer {
    private let weight: WeightSlot
    private let bias: Slot?

    /// - Parameter rows: largest number of rows of X; by default the tokens of a pass.
    init(
        _ name: String, inputs: Int, outputs: Int, rows: Int? = nil, standardDeviation: Float,
        plan: inout ModelPlan
    ) {
        let matrix = plan.parameters.add(
            "\(name).weight", .matrix, shape: [outputs, inputs],
            initialization: .normal(standardDeviation: standardDeviation))
        weight = plan.addWeight(matrix, rows: rows ?? plan.tokens)
        bias =
            plan.model.biases
            ? plan.parameters.add("\(name).bias", .bias, shape: [outputs], initialization: .zeros) : nil
    }

    /// `x` `[t, in]` → `y` `[t, out]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        pass.matmul.forward(x, weight: pass.weight(weight), bias: bias.map { pass.parameter($0) }, into: y)
    }

    /// From `dy` `[t, out]` and the forward's `x` `[t, in]`: adds the parameters' gradients, writes `dx` `[t, in]`, or adds
    /// to it when accumulating. Calls `pause` in between.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, accumulate: Bool = false,
        pause: () throws -> Void
    ) rethrows {
        pass.matmul.weightGradient(dy, x, into: pass.gradient(weight.slot))
        if let bias { BiasGradient.accumulate(dy, into: pass.gradient(bias), on: pass.team) }
        try pause()
        pass.matmul.inputGradient(dy, weight: pass.weight(weight), accumulate: accumulate, into: dx)
    }
}
