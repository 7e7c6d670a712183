import Configs
import Kernels

/// Pre-norm block of GPT-2: x + attention(norm(x)), then the same with the MLP.
///
/// Keeps both norms' outputs, the stream between the halves and its output: 4·t·h elements beside its layers' own.
struct DecoderBlock {
    private let attentionNorm: LayerNormLayer
    private let attention: AttentionLayer
    private let attentionDropout: DropoutLayer
    private let mlpNorm: LayerNormLayer
    private let mlp: MLPLayer
    private let mlpDropout: DropoutLayer
    private let attentionInput: Slot
    private let middle: Slot
    private let mlpInput: Slot
    /// The residual stream behind this block, `[t, h]`.
    let output: Slot
    private let branch: Slot

    /// Where this block's parameters begin in the arenas.
    var firstParameter: Int { attentionNorm.firstParameter }

    /// `branch` is workspace `[t, h]` that all blocks share.
    init(_ name: String, branch: Slot, plan: inout ModelPlan) {
        self.branch = branch
        let (tokens, width) = (plan.tokens, plan.model.dModel)
        attentionNorm = LayerNormLayer("\(name).attention_norm", width: width, plan: &plan)
        attentionInput = plan.activations.reserve("\(name).attention_input", rows: tokens, columns: width)
        attention = AttentionLayer("\(name).attention", plan: &plan)
        attentionDropout = DropoutLayer(plan: &plan)
        middle = plan.activations.reserve("\(name).middle", rows: tokens, columns: width)
        mlpNorm = LayerNormLayer("\(name).mlp_norm", width: width, plan: &plan)
        mlpInput = plan.activations.reserve("\(name).mlp_input", rows: tokens, columns: width)
        mlp = MLPLayer("\(name).mlp", plan: &plan)
        mlpDropout = DropoutLayer(plan: &plan)
        output = plan.activations.reserve("\(name).output", rows: tokens, columns: width)
    }

    /// Residual stream `x` `[t, h]` → `output`.
    func forward(_ pass: Pass, _ x: Matrix) {
        let update = pass.tokenRows(pass.scratch(branch))
        let normed = pass.tokenRows(pass.activation(attentionInput))
        let mid = pass.tokenRows(pass.activation(middle))
        attentionNorm.forward(pass, x, into: normed)
        attention.forward(pass, normed, into: update)
        attentionDropout.apply(pass, update, into: update)
        Residual.add(x, update, into: mid, on: pass.team)

        let normedMid = pass.tokenRows(pass.activation(mlpInput))
        mlpNorm.forward(pass, mid, into: normedMid)
        mlp.forward(pass, normedMid, into: update)
        mlpDropout.apply(pass, update, into: update)
        Residual.add(mid, update, into: pass.tokenRows(pass.activation(output)), on: pass.team)
    }

    /// Turns `stream`, the gradient with respect to the output, into that with respect to `x`, and adds the
    /// parameters' gradients. Calls `pause` now and then between pieces of work.
    func backward(_ pass: Pass, stream: Matrix, x: Matrix, pause: () throws -> Void) rethrows {
        let update = pass.tokenRows(pass.scratch(branch))
        try mlp.backward(
            pass, dropped(pass, stream, by: mlpDropout), x: pass.tokenRows(pass.activation(mlpInput)),
            into: update, pause: pause)
        mlpNorm.backward(pass, update, x: pass.tokenRows(pass.activation(middle)), addingTo: stream)

        try pause()
        try attention.backward(
            pass, dropped(pass, stream, by: attentionDropout),
            x: pass.tokenRows(pass.activation(attentionInput)), into: update, pause: pause)
        attentionNorm.backward(pass, update, x: x, addingTo: stream)
    }

    /// The branch's share of the stream's gradient: the stream itself when nothing is dropped.
    private func dropped(_ pass: Pass, _ stream: Matrix, by dropout: DropoutLayer) -> Matrix {
        guard dropout.isActive(pass) else { return stream }
        let update = pass.tokenRows(pass.scratch(branch))
        dropout.apply(pass, stream, into: update)
        return update
    }
}
