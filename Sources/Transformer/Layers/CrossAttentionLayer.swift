import Configs
import Kernels

/// Multi-head attention of a decoder to the output of its encoder (Vaswani et al. 2017): queries are of the decoder's
/// stream, keys and values of the encoder's output, by a joint k‖v projection.
///
/// Keeps q, k‖v and the heads' outputs, 2·t·h + 2·u·c elements for u tokens of sources, with c = h·(heads of keys)/a,
/// beside what `AttentionHeads` keep. FLOPs: 4·t·h² + 4·u·h·c forward, twice that backward, beside those of the heads.
struct CrossAttentionLayer: BranchLayer {
    private let query: LinearLayer
    private let keyValue: LinearLayer
    private let output: LinearLayer
    private let heads: AttentionHeads
    /// Width of all heads of keys.
    private let keyWidth: Int
    private let memory: ModelPlan.Memory

    /// `[t, h]`, `[u, 2c]` and `[t, h]`.
    private let queries: Slot
    private let keysAndValues: Slot
    private let mixed: Slot
    private let dQueries: Slot
    private let dKeysAndValues: Slot
    private let dMixed: Slot

    init(_ name: String, memory: ModelPlan.Memory, plan: inout ModelPlan) {
        let (model, tokens, sourceTokens) = (plan.model, plan.tokens, plan.sourceTokens)
        let (width, keyWidth) = (model.dModel, model.keyWidth)
        (self.memory, self.keyWidth) = (memory, keyWidth)
        query = LinearLayer(
            "\(name).query", inputs: width, outputs: width, standardDeviation: 0.02, plan: &plan)
        keyValue = LinearLayer(
            "\(name).key_value", inputs: width, outputs: 2 * keyWidth, rows: sourceTokens,
            standardDeviation: 0.02, plan: &plan)
        output = LinearLayer(
            "\(name).output", inputs: width, outputs: width,
            standardDeviation: plan.residualProjectionDeviation, plan: &plan)
        queries = plan.activations.reserve("\(name).query", rows: tokens, columns: width)
        keysAndValues = plan.activations.reserve(
            "\(name).key_value", rows: sourceTokens, columns: 2 * keyWidth)
        mixed = plan.activations.reserve("\(name).mixed", rows: tokens, columns: width)
        (heads, (dQueries, dKeysAndValues, dMixed)) = AttentionHeads.plan(name, .source, &plan) { workspace in
            (
                workspace.reserve("\(name).query.gradient", rows: tokens, columns: width),
                workspace.reserve("\(name).key_value.gradient", rows: sourceTokens, columns: 2 * keyWidth),
                workspace.reserve("\(name).mixed.gradient", rows: tokens, columns: width)
            )
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        let q = pass.tokenRows(pass.activation(queries))
        let kv = pass.sourceRows(pass.activation(keysAndValues))
        let mix = pass.tokenRows(pass.activation(mixed))
        query.forward(pass, x, into: q)
        keyValue.forward(pass, pass.sourceRows(pass.activation(memory.output)), into: kv)
        heads.forward(pass, operands(q, kv), into: mix)
        output.forward(pass, mix, into: y)
    }

    /// Adds the parameters' gradients from `dy` `[t, h]` and the forward's `x`, and that of the encoder's output, and writes
    /// `dx`, which may be `dy`.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let q = pass.tokenRows(pass.activation(queries))
        let kv = pass.sourceRows(pass.activation(keysAndValues))
        let mix = pass.tokenRows(pass.activation(mixed))
        let dQ = pass.tokenRows(pass.scratch(dQueries))
        let dKV = pass.sourceRows(pass.scratch(dKeysAndValues))
        let dMix = pass.tokenRows(pass.scratch(dMixed))
        try output.backward(pass, dy, x: mix, into: dMix, pause: pause)
        try pause()
        try heads.backward(
            pass, operands(q, kv), mixed: mix, dMixed: dMix, into: operands(dQ, dKV), pause: pause)
        try keyValue.backward(
            pass, dKV, x: pass.sourceRows(pass.activation(memory.output)),
            into: pass.sourceRows(pass.scratch(memory.gradient)), accumulate: true, pause: pause)
        try pause()
        try query.backward(pass, dQ, x: x, into: dx, pause: pause)
    }

    private func operands(_ queries: Matrix, _ joint: Matrix) -> AttentionHeads.Operands {
        AttentionHeads.Operands(
            queries: queries, keys: joint.columns(0..<keyWidth),
            values: joint.columns(keyWidth..<2 * keyWidth))
    }
}
