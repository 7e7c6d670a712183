import Configs
import Kernels

/// Position-wise feed-forward network: h → f, activation, f → h. Gated, h → 2f, gates and what they let through, then
/// activation(gate)∘up, f → h (Shazeer 2020).
///
/// Keeps the hidden tensor before the activation, t·f elements, or gated 2·t·f; what is after it is computed again for the
/// backward pass. FLOPs: 4·t·h·f forward, or gated 6·t·h·f; twice that backward.
struct MLPLayer: BranchLayer {
    /// `[f, h]`; gated `[2f, h]`, the gate's rows first.
    private let up: LinearLayer
    private let down: LinearLayer
    private let activation: Activation
    private let isGated: Bool
    private let width: Int
    /// Before the activation, `[t, f]` or gated `[t, 2f]`.
    private let preActivation: KeptSlot
    /// After it, `[t, f]`.
    private let hidden: ScratchSlot
    /// Of what is before it, of a block of rows, as products take it.
    private let gradient: ScratchSlot

    init(_ name: String, plan: inout ModelPlan) {
        let model = plan.model
        (isGated, width) = (model.gated, model.dFF)
        let outputs = (isGated ? 2 : 1) * width
        up = LinearLayer(
            isGated ? "\(name).gate_up" : "\(name).up", inputs: model.dModel, outputs: outputs,
            standardDeviation: 0.02, plan: &plan)
        down = LinearLayer(
            "\(name).down", inputs: model.dFF, outputs: model.dModel,
            standardDeviation: plan.residualProjectionDeviation, plan: &plan)
        activation = Activation(model.activation)
        let tokens = plan.tokens
        preActivation = plan.keep("\(name).pre", rows: tokens, columns: outputs)
        let (format, productFormat) = (plan.format, plan.productFormat)
        let rows = productFormat == nil ? plan.blocks?.rows ?? tokens : min(tokens, ModelConfig.mlpBlockRows)
        (hidden, gradient) = plan.workspace.scope { workspace in
            (
                ScratchSlot("\(name).hidden", rows: tokens, columns: model.dFF, format, in: &workspace),
                ScratchSlot(
                    "\(name).pre.gradient", rows: rows, columns: outputs, productFormat, in: &workspace)
            )
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: StoredMatrix, into y: Matrix) {
        let (pre, post) = (pass.kept(preActivation), hidden.matrix(pass, rows: x.rows))
        // What a block of rows has written is still in a cache when it is read.
        for rows in pass.blocks(of: x.rows) {
            let (pre, post) = (pre.rows(rows), post.rows(rows))
            up.forward(pass, x.rows(rows), into: pre)
            if isGated {
                activation.gatedForward(gate: gate(pre), up: ungated(pre), into: post, on: pass.team)
            } else {
                activation.forward(pre, into: post, on: pass.team)
            }
        }
        down.forward(pass, post, into: .full(y))
    }

    /// Adds the parameters' gradients and writes `dx`, which may be `dy` itself. Calls `pause` between pieces of work.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: StoredMatrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let takesKept = up.takesKept(pass, rows: x.rows) && down.takesKept(pass, rows: x.rows)
        let size = takesKept ? gradient.rows : min(gradient.rows, pass.blockRows(of: x.rows))
        for rows in RowBlocks(x.rows, size: size) {
            let dy = StoredMatrix.full(dy.rows(rows))
            let pre = pass.kept(preActivation).rows(rows)
            let post = hidden.matrix(pass, rows: rows.count)
            let dPre = gradient.matrix(pass, rows: rows.count)
            // Of what is after the activation, in the place of what becomes of it.
            let dHidden = gate(dPre)
            down.inputGradient(pass, dy, into: dHidden)
            try pause()
            activate(pass, dHidden, pre: pre, into: dPre, output: post)
            let isFirst = rows.lowerBound == 0
            down.parameterGradients(pass, dy, x: post, isFirst: isFirst)
            try pause()
            try up.backward(
                pass, dPre, x: x.rows(rows), into: .full(dx.rows(rows)), isFirst: isFirst, pause: pause)
        }
    }

    /// Turns the gradient of what is after the activation into that of what is before it, and computes the former again.
    private func activate(
        _ pass: Pass, _ dHidden: StoredMatrix, pre: StoredMatrix, into dPre: StoredMatrix,
        output post: StoredMatrix
    ) {
        if isGated {
            activation.gatedBackward(
                dHidden, gate: gate(pre), up: ungated(pre), intoGate: dHidden, intoUp: ungated(dPre),
                output: post, on: pass.team)
        } else {
            activation.backward(dHidden, x: pre, into: dPre, output: post, on: pass.team)
        }
    }

    /// The half that goes through the activation; all, where nothing is gated.
    private func gate(_ joint: StoredMatrix) -> StoredMatrix { joint.columns(0..<width) }

    /// The half that is multiplied by it.
    private func ungated(_ joint: StoredMatrix) -> StoredMatrix { joint.columns(width..<2 * width) }
}

extension Activation {
    init(_ activation: ModelConfig.Activation) {
        switch activation {
        case .gelu: self = .geluTanh
        case .geluErf: self = .geluErf
        case .relu: self = .relu
        case .silu: self = .silu
        }
    }
}
