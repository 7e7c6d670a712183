import Configs
import Kernels

/// Multi-head self-attention (Vaswani et al. 2017) with GPT-2's joint q‖k‖v projection: in a decoder, causal; in an encoder
/// with all keys of the sequence. Queries and keys may be turned by their positions.
///
/// Keeps q‖k‖v and the heads' outputs, t·(2h + 2c) elements with c = h·(heads of keys)/a, beside what `AttentionHeads` keep.
/// FLOPs: 4·t·h·(h + c) forward, twice that backward, beside those of the heads.
struct AttentionLayer: BranchLayer {
    private let qkv: LinearLayer
    private let output: LinearLayer
    private let heads: AttentionHeads
    /// Width of all heads of queries, and of keys.
    private let width: Int
    private let keyWidth: Int
    /// `[s, d]`, where positions are rotary.
    private let rotaryTable: Slot?

    /// `[t, h + 2c]` and `[t, h]`.
    private let projected: Slot
    private let mixed: Slot
    private let dProjected: Slot
    private let dMixed: Slot

    init(_ name: String, plan: inout ModelPlan) {
        let (model, tokens) = (plan.model, plan.tokens)
        let (width, keyWidth) = (model.dModel, model.keyWidth)
        (self.width, self.keyWidth) = (width, keyWidth)
        let joint = width + 2 * keyWidth
        rotaryTable = model.positions == .rotary ? plan.positionTable?.slot : nil
        qkv = LinearLayer(
            "\(name).qkv", inputs: width, outputs: joint, standardDeviation: 0.02, plan: &plan)
        output = LinearLayer(
            "\(name).output", inputs: width, outputs: width,
            standardDeviation: plan.residualProjectionDeviation, plan: &plan)
        projected = plan.activations.reserve("\(name).qkv", rows: tokens, columns: joint)
        mixed = plan.activations.reserve("\(name).mixed", rows: tokens, columns: width)
        (heads, (dProjected, dMixed)) = AttentionHeads.plan(
            name, plan.side == .decoder ? .past : .sequence, &plan
        ) { workspace in
            (
                workspace.reserve("\(name).qkv.gradient", rows: tokens, columns: joint),
                workspace.reserve("\(name).mixed.gradient", rows: tokens, columns: width)
            )
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        let all = pass.tokenRows(pass.activation(projected))
        let mix = pass.tokenRows(pass.activation(mixed))
        qkv.forward(pass, x, into: all)
        turn(pass, all, inverse: false)
        heads.forward(pass, operands(all), into: mix)
        output.forward(pass, mix, into: y)
    }

    /// Adds the parameters' gradients from `dy` `[t, h]` and the forward's `x`, and writes `dx`, which may be `dy`.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let all = pass.tokenRows(pass.activation(projected))
        let mix = pass.tokenRows(pass.activation(mixed))
        let dAll = pass.tokenRows(pass.scratch(dProjected))
        let dMix = pass.tokenRows(pass.scratch(dMixed))
        try output.backward(pass, dy, x: mix, into: dMix, pause: pause)
        try pause()
        try heads.backward(
            pass, operands(all), mixed: mix, dMixed: dMix, into: operands(dAll), pause: pause)
        turn(pass, dAll, inverse: true)
        try qkv.backward(pass, dAll, x: x, into: dx, pause: pause)
    }

    private func operands(_ joint: Matrix) -> AttentionHeads.Operands {
        AttentionHeads.Operands(
            queries: joint.columns(0..<width), keys: joint.columns(width..<width + keyWidth),
            values: joint.columns(width + keyWidth..<width + 2 * keyWidth))
    }

    /// Turns the queries and keys of `joint` `[t, h + 2c]` by their positions, where these are rotary.
    private func turn(_ pass: Pass, _ joint: Matrix, inverse: Bool) {
        guard let rotaryTable else { return }
        Rotary.rotate(
            joint.columns(0..<width + keyWidth), table: pass.scratch(rotaryTable), length: pass.batch.length,
            inverse: inverse, on: pass.team)
    }
}
