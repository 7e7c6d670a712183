import Configs
import Kernels

/// Position-wise feed-forward network: h → f, activation, f → h.
///
/// Keeps both hidden tensors, 2·t·f elements. FLOPs: 4·t·h·f forward, twice that backward.
struct MLPLayer {
    private let up: LinearLayer
    private let down: LinearLayer
    private let activation: Activation
    /// Before and after the activation, `[t, f]`.
    private let preActivation: Slot
    private let hidden: Slot
    private let dHidden: Slot

    init(_ name: String, plan: inout ModelPlan) {
        let model = plan.model
        up = LinearLayer(
            "\(name).up", inputs: model.dModel, outputs: model.dFF, standardDeviation: 0.02, plan: &plan)
        down = LinearLayer(
            "\(name).down", inputs: model.dFF, outputs: model.dModel,
            standardDeviation: model.residualProjectionDeviation, plan: &plan)
        activation = Activation(model.activation)
        let tokens = plan.tokens
        preActivation = plan.activations.reserve("\(name).pre", rows: tokens, columns: model.dFF)
        hidden = plan.activations.reserve("\(name).hidden", rows: tokens, columns: model.dFF)
        dHidden = plan.workspace.scope { workspace in
            workspace.reserve("\(name).hidden.gradient", rows: tokens, columns: model.dFF)
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        let pre = pass.tokenRows(pass.activation(preActivation))
        let post = pass.tokenRows(pass.activation(hidden))
        up.forward(pass, x, into: pre)
        activation.forward(pre, into: post, on: pass.team)
        down.forward(pass, post, into: y)
    }

    /// Adds the parameters' gradients and writes `dx`, which may be `dy` itself. Calls `pause` between pieces of work.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let gradient = pass.tokenRows(pass.scratch(dHidden))
        try down.backward(
            pass, dy, x: pass.tokenRows(pass.activation(hidden)), into: gradient, pause: pause)
        try pause()
        activation.backward(
            gradient, x: pass.tokenRows(pass.activation(preActivation)), into: gradient, on: pass.team)
        try pause()
        try up.backward(pass, gradient, x: x, into: dx, pause: pause)
    }
}

extension Activation {
    init(_ activation: ModelConfig.Activation) {
        switch activation {
        case .gelu: self = .geluTanh
        case .geluErf: self = .geluErf
        case .relu: self = .relu
        }
    }
}

extension ModelConfig {
    /// GPT-2 scales the start of projections onto the residual stream by 1/√(number of them) = 1/√(2L).
    var residualProjectionDeviation: Float { 0.02 / Float(2 * numLayers).squareRoot() }
}
