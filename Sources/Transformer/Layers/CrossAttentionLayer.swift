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
    private let queries: KeptSlot
    private let keysAndValues: KeptSlot
    private let mixed: KeptSlot
    private let dQueries: ScratchSlot
    private let dKeysAndValues: ScratchSlot
    private let dMixed: ScratchSlot

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
        queries = plan.keep("\(name).query", rows: tokens, columns: width)
        keysAndValues = plan.keep(
            "\(name).key_value", rows: sourceTokens, columns: 2 * keyWidth)
        mixed = plan.keep("\(name).mixed", rows: tokens, columns: width)
        let format = plan.format
        (heads, (dQueries, dKeysAndValues, dMixed)) = AttentionHeads.plan(name, .source, &plan) { workspace in
            func gradient(_ part: String, rows: Int, columns: Int) -> ScratchSlot {
                ScratchSlot(
                    "\(name).\(part).gradient", rows: rows, columns: columns, format, in: &workspace)
            }
            return (
                gradient("query", rows: tokens, columns: width),
                gradient("key_value", rows: sourceTokens, columns: 2 * keyWidth),
                gradient("mixed", rows: tokens, columns: width)
            )
        }
    }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: StoredMatrix, into y: Matrix) {
        let (q, kv, mix) = (pass.kept(queries), pass.keptOfSource(keysAndValues), pass.kept(mixed))
        query.forward(pass, x, into: q)
        keyValue.forward(pass, pass.keptOfSource(memory.output), into: kv)
        heads.forward(pass, operands(q, kv), into: mix)
        output.forward(pass, mix, into: .full(y))
    }

    /// Adds the parameters' gradients from `dy` `[t, h]` and the forward's `x`, and that of the encoder's output, and writes
    /// `dx`, which may be `dy`.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: StoredMatrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let (q, kv, mix) = (pass.kept(queries), pass.keptOfSource(keysAndValues), pass.kept(mixed))
        let dQ = dQueries.matrix(pass, rows: pass.tokens)
        let dKV = dKeysAndValues.matrix(pass, rows: pass.source.tokens)
        let dMix = dMixed.matrix(pass, rows: pass.tokens)
        try output.backward(pass, .full(dy), x: mix, into: dMix, pause: pause)
        try pause()
        try heads.backward(
            pass, operands(q, kv), mixed: mix, dMixed: dMix, into: operands(dQ, dKV), pause: pause)
        try keyValue.backward(
            pass, dKV, x: pass.keptOfSource(memory.output),
            into: .full(pass.sourceRows(pass.scratch(memory.gradient))), accumulate: true, pause: pause)
        try pause()
        try query.backward(pass, dQ, x: x, into: .full(dx), pause: pause)
    }

    private func operands(_ queries: StoredMatrix, _ joint: StoredMatrix) -> AttentionHeads.Operands {
        AttentionHeads.Operands(
            queries: queries, keys: joint.columns(0..<keyWidth),
            values: joint.columns(keyWidth..<2 * keyWidth))
    }
}
