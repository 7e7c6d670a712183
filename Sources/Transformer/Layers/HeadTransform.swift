import Configs
import Kernels

/// What BERT's head does before the vocabulary: a linear map h → h, activation, norm (Devlin et al. 2019).
///
/// Keeps the linear map's output, the activation's and the norm's, 3·t·h elements. FLOPs: 2·t·h² forward, twice that
/// backward.
struct HeadTransform {
    private let dense: LinearLayer
    private let activation: Activation
    private let norm: NormLayer
    /// `[t, h]` each.
    private let preActivation: KeptSlot
    private let activated: KeptSlot
    /// What the head takes, `[t, h]`.
    let output: KeptSlot

    init(_ name: String, plan: inout ModelPlan) {
        let (tokens, width) = (plan.tokens, plan.model.dModel)
        dense = LinearLayer(
            "\(name).dense", inputs: width, outputs: width, standardDeviation: 0.02, plan: &plan)
        activation = Activation(plan.model.activation)
        norm = NormLayer("\(name).norm", plan: &plan)
        preActivation = plan.keep("\(name).pre", rows: tokens, columns: width)
        activated = plan.keep("\(name).activated", rows: tokens, columns: width)
        output = plan.keep("\(name).output", rows: tokens, columns: width)
    }

    /// `x` `[t, h]` → `output`.
    func forward(_ pass: Pass, _ x: StoredMatrix) {
        let (pre, hidden) = (pass.kept(preActivation), pass.kept(activated))
        dense.forward(pass, x, into: pre)
        activation.forward(pre, into: hidden, on: pass.team)
        norm.forward(pass, hidden, into: pass.kept(output))
    }

    /// Turns `gradient`, that of the output, into that of the forward's `x`, and adds the parameters' gradients.
    /// `scratch` `[t, h]` is overwritten.
    func backward(_ pass: Pass, gradient: Matrix, scratch: Matrix, x: StoredMatrix) {
        Reductions.fill(scratch.vector, with: 0, on: pass.team)
        norm.backward(pass, gradient, x: pass.kept(activated), addingTo: scratch)
        activation.backward(
            .full(scratch), x: pass.kept(preActivation), into: .full(scratch),
            output: pass.kept(activated), on: pass.team)
        dense.backward(pass, .full(scratch), x: x, into: .full(gradient)) {}
    }
}
