import Kernels

/// Layer normalization over the last dimension with gain and bias (Ba et al. 2016), epsilon 1e-5 as in GPT-2.
///
/// Keeps mean and inverse standard deviation of every row: 2·t elements. No matrix products.
struct LayerNormLayer {
    private static let epsilon: Float = 1e-5
    private let weight: Slot
    private let bias: Slot
    /// Row 0: means; row 1: inverse standard deviations.
    private let statistics: Slot

    /// Where this layer's parameters begin in the arenas.
    var firstParameter: Int { weight.offset }

    init(_ name: String, width: Int, plan: inout ModelPlan) {
        weight = plan.parameters.add("\(name).weight", shape: [width], initialization: .ones)
        bias = plan.parameters.add("\(name).bias", shape: [width], initialization: .zeros)
        statistics = plan.activations.reserve("\(name).statistics", rows: 2, columns: plan.tokens)
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        LayerNorm.forward(
            x, weight: pass.parameter(weight), bias: pass.parameter(bias), epsilon: Self.epsilon, into: y,
            mean: statistic(pass, 0), inverseDeviation: statistic(pass, 1), on: pass.team)
    }

    /// Adds to `dx` `[t, h]` and to the parameters' gradients, from `dy` `[t, h]` and the forward's `x`.
    func backward(_ pass: Pass, _ dy: Matrix, x: Matrix, addingTo dx: Matrix) {
        LayerNorm.backward(
            dy, x: x, weight: pass.parameter(weight), mean: statistic(pass, 0),
            inverseDeviation: statistic(pass, 1), addingTo: dx, dWeight: pass.gradient(weight),
            dBias: pass.gradient(bias), on: pass.team)
    }

    private func statistic(_ pass: Pass, _ row: Int) -> Vector {
        pass.activation(statistics).rows(row..<row + 1).vector.slice(0..<pass.tokens)
    }
}
