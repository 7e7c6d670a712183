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

    /// Whether products take `rows` rows of what is kept in 16 bits as they are, not a block at a time in fp32.
    func takesKept(_ pass: Pass, rows: Int) -> Bool {
        guard let format = pass.format else { return false }
        return pass.matmul.takes(format, rows: rows, weight: pass.weight(weight))
    }

    /// `x` `[t, in]` → `y` `[t, out]`. `change` is what else happens to rows of y, before they are kept, if it `changes` them.
    func forward(
        _ pass: Pass, _ x: StoredMatrix, into y: StoredMatrix, changes: Bool = false,
        change: (Matrix, Range<Int>) -> Void = { _, _ in }
    ) {
        func multiply(_ x: StoredMatrix, into y: StoredMatrix) {
            pass.matmul.forward(
                x, weight: pass.weight(weight), bias: bias.map { pass.parameter($0) }, into: y)
        }
        if !changes, pass.multiplies(weight, rows: x.rows, into: y, depth: x.columns) {
            multiply(x, into: y)
            return
        }
        for rows in pass.blocks(of: x.rows) {
            let x = pass.operand(x.rows(rows), for: weight, block: pass.block(.first))
            pass.write(y.rows(rows)) { y in
                multiply(x, into: .full(y))
                change(y, rows)
            }
        }
    }

    /// From `dy` `[t, out]` and the forward's `x` `[t, in]`: gives the parameters' gradients, writes `dx` `[t, in]`, or adds
    /// to it when accumulating, in fp32. `change` is what happens to rows of dy before, if it `changes` them. Calls `pause` in between.
    ///
    /// - Parameter isFirst: whether no other rows of the pass came before.
    func backward(
        _ pass: Pass, _ dy: StoredMatrix, x: StoredMatrix, into dx: StoredMatrix, accumulate: Bool = false,
        isFirst: Bool = true, changes: Bool = false, change: (Matrix, Range<Int>) -> Void = { _, _ in },
        pause: () throws -> Void
    ) rethrows {
        func backward(
            _ dy: StoredMatrix, _ x: StoredMatrix, _ dx: StoredMatrix, isFirst: Bool
        ) throws {
            parameterGradients(pass, dy, x: x, isFirst: isFirst)
            try pause()
            inputGradient(pass, dy, accumulate: accumulate, into: dx)
        }
        if !changes, pass.multiplies(weight, rows: x.rows, into: dx, depth: dy.columns) {
            try backward(dy, x, dx, isFirst: isFirst)
            return
        }
        for rows in pass.blocks(of: x.rows) {
            let dy = pass.read(dy.rows(rows))
            change(dy, rows)
            try backward(.full(dy), x.rows(rows), dx.rows(rows), isFirst: isFirst && rows.lowerBound == 0)
        }
    }

    /// Gives the parameters' gradients, of no more rows than a block where products do not take them as they are kept.
    func parameterGradients(_ pass: Pass, _ dy: StoredMatrix, x: StoredMatrix, isFirst: Bool) {
        pass.matmul.weightGradient(
            pass.operand(dy, for: weight, block: pass.block(.first)),
            pass.operand(x, for: weight, block: pass.block(.second)),
            accumulate: pass.accumulates || !isFirst, into: pass.gradient(weight.slot))
        if let bias { BiasGradient.accumulate(dy, into: pass.gradient(bias), on: pass.team) }
    }

    /// The same.
    func inputGradient(
        _ pass: Pass, _ dy: StoredMatrix, accumulate: Bool = false, into dx: StoredMatrix
    ) {
        let dy = pass.operand(dy, for: weight, block: pass.block(.first))
        func multiply(into dx: StoredMatrix) {
            pass.matmul.inputGradient(dy, weight: pass.weight(weight), accumulate: accumulate, into: dx)
        }
        if pass.multiplies(weight, rows: dy.rows, into: dx, depth: dy.columns) {
            multiply(into: dx)
        } else {
            pass.write(dx) { multiply(into: .full($0)) }
        }
    }
}
