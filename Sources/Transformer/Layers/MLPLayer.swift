import Configs
import Kernels

/// Position-wise feed-forward network: h → f, activation, f → h. Gated, h → 2f, gates and what they let through, then
/// activation(gate)∘up, f → h (Shazeer 2020).
///
/// Keeps the hidden tensors before and after the activation, 2·t·f elements, or gated 3·t·f. FLOPs: 4·t·h·f forward, or
/// gated 6·t·h·f; twice that backward.
struct MLPLayer: BranchLayer {
    /// `[f, h]`; gated `[2f, h]`, the gate's rows first.
    private let up: LinearLayer
    private let down: LinearLayer
    private let activation: Activation
    private let isGated: Bool
    private let width: Int
    /// Before the activation, `[t, f]` or gated `[t, 2f]`, and after it, `[t, f]`.
    private let preActivation: Slot
    private let hidden: Slot
    /// Of what is before the activation.
    private let gradient: Slot

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
        preActivation = plan.activations.reserve("\(name).pre", rows: tokens, columns: outputs)
        hidden = plan.activations.reserve("\(name).hidden", rows: tokens, columns: model.dFF)
        gradient = plan.workspace.scope { workspace in
            workspace.reserve("\(name).pre.gradient", rows: tokens, columns: outputs)
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        let pre = pass.tokenRows(pass.activation(preActivation))
        let post = pass.tokenRows(pass.activation(hidden))
        up.forward(pass, x, into: pre)
        if isGated {
            activation.gatedForward(gate: gate(pre), up: ungated(pre), into: post, on: pass.team)
        } else {
            activation.forward(pre, into: post, on: pass.team)
        }
        down.forward(pass, post, into: y)
    }

    /// Adds the parameters' gradients and writes `dx`, which may be `dy` itself. Calls `pause` between pieces of work.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let pre = pass.tokenRows(pass.activation(preActivation))
        let dPre = pass.tokenRows(pass.scratch(gradient))
        // Of what is after the activation, in the place of what becomes of it.
        let dHidden = gate(dPre)
        try down.backward(
            pass, dy, x: pass.tokenRows(pass.activation(hidden)), into: dHidden, pause: pause)
        try pause()
        if isGated {
            activation.gatedBackward(
                dHidden, gate: gate(pre), up: ungated(pre), intoGate: dHidden, intoUp: ungated(dPre),
                on: pass.team)
        } else {
            activation.backward(dHidden, x: pre, into: dPre, on: pass.team)
        }
        try pause()
        try up.backward(pass, dPre, x: x, into: dx, pause: pause)
    }

    /// The half that goes through the activation; all, where nothing is gated.
    private func gate(_ joint: Matrix) -> Matrix { joint.columns(0..<width) }

    /// The half that is multiplied by it.
    private func ungated(_ joint: Matrix) -> Matrix { joint.columns(width..<2 * width) }
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
