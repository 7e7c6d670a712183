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
    private let projected: KeptSlot
    private let mixed: KeptSlot
    private let dProjected: ScratchSlot
    private let dMixed: ScratchSlot

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
        projected = plan.keep("\(name).qkv", rows: tokens, columns: joint)
        mixed = plan.keep("\(name).mixed", rows: tokens, columns: width)
        let format = plan.format
        (heads, (dProjected, dMixed)) = AttentionHeads.plan(
            name, plan.side == .decoder ? .past : .sequence, &plan
        ) { workspace in
            (
                ScratchSlot("\(name).qkv.gradient", rows: tokens, columns: joint, format, in: &workspace),
                ScratchSlot("\(name).mixed.gradient", rows: tokens, columns: width, format, in: &workspace)
            )
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: StoredMatrix, into y: Matrix) {
        let (all, mix) = (pass.kept(projected), pass.kept(mixed))
        qkv.forward(pass, x, into: all, changes: rotaryTable != nil) {
            turn(pass, $0, from: $1.lowerBound, inverse: false)
        }
        heads.forward(pass, operands(all), into: mix)
        output.forward(pass, mix, into: .full(y))
    }

    /// Adds the parameters' gradients from `dy` `[t, h]` and the forward's `x`, and writes `dx`, which may be `dy`.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: StoredMatrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let (all, mix) = (pass.kept(projected), pass.kept(mixed))
        let dAll = dProjected.matrix(pass, rows: pass.tokens)
        let dMix = dMixed.matrix(pass, rows: pass.tokens)
        try output.backward(pass, .full(dy), x: mix, into: dMix, pause: pause)
        try pause()
        try heads.backward(
            pass, operands(all), mixed: mix, dMixed: dMix, into: operands(dAll), pause: pause)
        try qkv.backward(
            pass, dAll, x: x, into: .full(dx), changes: rotaryTable != nil,
            change: { turn(pass, $0, from: $1.lowerBound, inverse: true) }, pause: pause)
    }

    private func operands(_ joint: StoredMatrix) -> AttentionHeads.Operands {
        AttentionHeads.Operands(
            queries: joint.columns(0..<width), keys: joint.columns(width..<width + keyWidth),
            values: joint.columns(width + keyWidth..<width + 2 * keyWidth))
    }

    /// Turns the queries and keys of `joint` `[rows, h + 2c]` by their positions, where these are rotary. Its first row is
    /// row `first` of the micro-batch.
    private func turn(_ pass: Pass, _ joint: Matrix, from first: Int, inverse: Bool) {
        guard let rotaryTable else { return }
        Rotary.rotate(
            joint.columns(0..<width + keyWidth), firstRow: first, table: pass.scratch(rotaryTable),
            length: pass.batch.length, inverse: inverse, on: pass.team)
    }
}
