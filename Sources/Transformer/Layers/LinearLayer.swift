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

    /// `x` `[t, in]` → `y` `[t, out]`. `change` is what else happens to rows of y, before they are kept.
    func forward(
        _ pass: Pass, _ x: StoredMatrix, into y: StoredMatrix,
        change: (Matrix, Range<Int>) -> Void = { _, _ in }
    ) {
        for rows in pass.blocks(of: x.rows) {
            pass.write(y.rows(rows)) { y in
                pass.matmul.forward(
                    pass.operand(x.rows(rows), for: weight, block: pass.block(.first)),
                    weight: pass.weight(weight),
                    bias: bias.map { pass.parameter($0) }, into: y)
                change(y, rows)
            }
        }
    }

    /// From `dy` `[t, out]` and the forward's `x` `[t, in]`: adds the parameters' gradients, writes `dx` `[t, in]`, or adds
    /// to it when accumulating, in fp32. `change` is what happens to rows of dy before. Calls `pause` in between.
    func backward(
        _ pass: Pass, _ dy: StoredMatrix, x: StoredMatrix, into dx: StoredMatrix, accumulate: Bool = false,
        change: (Matrix, Range<Int>) -> Void = { _, _ in }, pause: () throws -> Void
    ) rethrows {
        for rows in pass.blocks(of: x.rows) {
            let dy = pass.read(dy.rows(rows))
            change(dy, rows)
            addParameterGradients(pass, dy, x: x.rows(rows))
            try pause()
            pass.write(dx.rows(rows)) {
                inputGradient(pass, dy, accumulate: accumulate, into: $0)
            }
        }
    }

    /// Of one block of rows.
    func addParameterGradients(_ pass: Pass, _ dy: Matrix, x: StoredMatrix) {
        pass.matmul.weightGradient(
            .full(dy), pass.operand(x, for: weight, block: pass.block(.second)),
            into: pass.gradient(weight.slot))
        if let bias { BiasGradient.accumulate(dy, into: pass.gradient(bias), on: pass.team) }
    }

    /// The same.
    func inputGradient(_ pass: Pass, _ dy: Matrix, accumulate: Bool = false, into dx: Matrix) {
        pass.matmul.inputGradient(dy, weight: pass.weight(weight), accumulate: accumulate, into: dx)
    }
}
