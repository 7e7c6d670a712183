import Configs
import Kernels

/// Normalization over the last dimension, with gain: layer normalization, with bias where the model has any (Ba et al.
/// 2016), or by the root mean square (Zhang and Sennrich 2019).
///
/// Keeps mean and inverse standard deviation of every row, 2·t elements, or its inverse root mean square, t. No matrix
/// products.
struct NormLayer {
    private let type: ModelConfig.NormType
    private let epsilon: Float
    private let weight: Slot
    private let bias: Slot?
    /// Layer normalization's row 0 are means, its row 1 inverse standard deviations.
    private let statistics: Slot

    init(_ name: String, plan: inout ModelPlan) {
        let model = plan.model
        (type, epsilon) = (model.normType, Float(model.normEpsilon))
        weight = plan.parameters.add("\(name).weight", .norm, shape: [model.dModel], initialization: .ones)
        bias =
            type == .layer && model.biases
            ? plan.parameters.add("\(name).bias", .norm, shape: [model.dModel], initialization: .zeros) : nil
        statistics = plan.activations.reserve(
            "\(name).statistics", rows: type == .layer ? 2 : 1, columns: plan.tokens)
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: StoredMatrix, into y: StoredMatrix) {
        forward(pass, x, nil, 0..<x.rows, into: y)
    }

    /// The residual stream `x` `[t, h]`, which is complete then → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: ResidualStream, into y: StoredMatrix) {
        forward(pass, x.sum, x.terms, 0..<x.sum.rows, into: y)
    }

    /// `x` `[t, h]` → `y` `[t, h]`. `change` is what else happens to rows of y, before they are kept.
    func forward(
        _ pass: Pass, _ x: StoredMatrix, into y: StoredMatrix, change: (Matrix, Range<Int>) -> Void
    ) {
        for rows in pass.blocks(of: x.rows) {
            pass.write(y.rows(rows)) { y in
                forward(pass, x.rows(rows), nil, rows, into: .full(y))
                change(y, rows)
            }
        }
    }

    private func forward(
        _ pass: Pass, _ x: StoredMatrix, _ terms: ResidualTerms?, _ rows: Range<Int>, into y: StoredMatrix
    ) {
        switch type {
        case .layer:
            LayerNorm.forward(
                x, sumOf: terms, weight: pass.parameter(weight), bias: bias.map { pass.parameter($0) },
                epsilon: epsilon, into: y, mean: statistic(pass, 0, rows),
                inverseDeviation: statistic(pass, 1, rows), on: pass.team)
        case .rms:
            RMSNorm.forward(
                x, sumOf: terms, weight: pass.parameter(weight), epsilon: epsilon, into: y,
                inverseRoot: statistic(pass, 0, rows), on: pass.team)
        }
    }

    /// Adds to `dx` `[t, h]` and to the parameters' gradients, from `dy` `[t, h]` and the forward's `x`.
    func backward(_ pass: Pass, _ dy: Matrix, x: StoredMatrix, addingTo dx: Matrix) {
        let rows = 0..<x.rows
        switch type {
        case .layer:
            LayerNorm.backward(
                dy, x: x, weight: pass.parameter(weight), mean: statistic(pass, 0, rows),
                inverseDeviation: statistic(pass, 1, rows), addingTo: dx, dWeight: pass.gradient(weight),
                dBias: bias.map { pass.gradient($0) }, on: pass.team)
        case .rms:
            RMSNorm.backward(
                dy, x: x, weight: pass.parameter(weight), inverseRoot: statistic(pass, 0, rows),
                addingTo: dx, dWeight: pass.gradient(weight), on: pass.team)
        }
    }

    private func statistic(_ pass: Pass, _ number: Int, _ rows: Range<Int>) -> Vector {
        pass.activation(statistics).rows(number..<number + 1).vector.slice(rows)
    }
}
