import Configs
import Kernels

/// Causal multi-head self-attention (Vaswani et al. 2017) with GPT-2's joint q‖k‖v projection, one (sequence, head) at
/// a time.
///
/// Keeps q‖k‖v and the heads' outputs, 4·t·h elements, and either the log-sum-exp of every row of scores, t·a elements
/// (`recomputed`; Dao et al. 2022), or the probabilities, b·a·s² elements (`stored`).
/// FLOPs: 8·t·h² + 4·t·s·h forward, twice that backward, and 2·t·s·h more where scores are recomputed.
struct AttentionLayer {
    private let qkv: LinearLayer
    private let output: LinearLayer
    private let probabilityDropout: DropoutLayer
    private let mode: ModelConfig.AttentionMode
    private let heads: Int
    private let headWidth: Int
    private let context: Int

    /// `[t, 3h]` and `[t, h]`.
    private let projected: Slot
    private let mixed: Slot
    /// `[b·a, s]` when recomputed; `[b·a·s, s]` when stored.
    private let logSumExp: Slot?
    private let storedProbabilities: Slot?

    private let dProjected: Slot
    private let dMixed: Slot
    /// `[s, s]` each, of one head: probabilities when recomputed, what dropout leaves of them, and the gradient.
    private let probabilities: Slot?
    private let dropped: Slot?
    private let dScores: Slot
    private let delta: Slot

    init(_ name: String, plan: inout ModelPlan) {
        let model = plan.model
        let (width, length, tokens) = (model.dModel, model.contextLength, plan.tokens)
        heads = model.numHeads
        headWidth = width / heads
        context = length
        mode = model.attention
        qkv = LinearLayer(
            "\(name).qkv", inputs: width, outputs: 3 * width, standardDeviation: 0.02, plan: &plan)
        output = LinearLayer(
            "\(name).output", inputs: width, outputs: width,
            standardDeviation: model.residualProjectionDeviation, plan: &plan)
        probabilityDropout = DropoutLayer(plan: &plan)

        projected = plan.activations.reserve("\(name).qkv", rows: tokens, columns: 3 * width)
        mixed = plan.activations.reserve("\(name).mixed", rows: tokens, columns: width)
        let rows = plan.sequences * heads
        switch mode {
        case .recomputed:
            logSumExp = plan.activations.reserve("\(name).log_sum_exp", rows: rows, columns: length)
            storedProbabilities = nil
        case .stored:
            logSumExp = nil
            storedProbabilities = plan.activations.reserve(
                "\(name).probabilities", rows: rows * length, columns: length)
        }

        let keepsProbabilities = mode == .stored
        (dProjected, dMixed, probabilities, dropped, dScores, delta) = plan.workspace.scope { workspace in
            (
                workspace.reserve("\(name).qkv.gradient", rows: tokens, columns: 3 * width),
                workspace.reserve("\(name).mixed.gradient", rows: tokens, columns: width),
                keepsProbabilities
                    ? nil : workspace.reserve("\(name).scores", rows: length, columns: length),
                model.dropout > 0
                    ? workspace.reserve("\(name).dropped", rows: length, columns: length) : nil,
                workspace.reserve("\(name).scores.gradient", rows: length, columns: length),
                workspace.reserve("\(name).delta", rows: 1, columns: length)
            )
        }
    }

    private var scale: Float { 1 / Float(headWidth).squareRoot() }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        let all = pass.tokenRows(pass.activation(projected))
        let mix = pass.tokenRows(pass.activation(mixed))
        qkv.forward(pass, x, into: all)
        for sequence in 0..<pass.batch.sequences {
            for head in 0..<heads {
                let part = HeadViews(self, pass, all, sequence: sequence, head: head)
                let scores = probabilityView(pass, sequence: sequence, head: head)
                pass.matmul.forward(part.q, weight: part.k, scale: scale, into: scores)
                Softmax.causalForward(
                    scores, logSumExp: logSumExpView(pass, sequence: sequence, head: head))
                let weights = dropping(pass, scores, sequence: sequence, head: head)
                pass.matmul.inputGradient(weights, weight: part.v, into: part.of(mix, of: self))
            }
        }
        output.forward(pass, mix, into: y)
    }

    /// Adds the parameters' gradients from `dy` `[t, h]` and the forward's `x`, and writes `dx`, which may be `dy`.
    /// Calls `pause` between heads.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let all = pass.tokenRows(pass.activation(projected))
        let mix = pass.tokenRows(pass.activation(mixed))
        let dAll = pass.tokenRows(pass.scratch(dProjected))
        let dMix = pass.tokenRows(pass.scratch(dMixed))
        try output.backward(pass, dy, x: mix, into: dMix, pause: pause)
        try pause()
        for sequence in 0..<pass.batch.sequences {
            for head in 0..<heads {
                let part = HeadViews(self, pass, all, sequence: sequence, head: head)
                let gradient = HeadViews(self, pass, dAll, sequence: sequence, head: head)
                backward(
                    pass, part, gradient, mixed: part.of(mix, of: self), dMixed: part.of(dMix, of: self))
                try pause()
            }
        }
        try qkv.backward(pass, dAll, x: x, into: dx, pause: pause)
    }

    /// One head of one sequence: `mixed` = dropout(P)·V with P = softmax(scale·Q·Kᵀ), all views `[s, d]`.
    private func backward(
        _ pass: Pass, _ part: HeadViews, _ gradient: HeadViews, mixed: Matrix, dMixed: Matrix
    ) {
        let p = probabilityView(pass, sequence: part.sequence, head: part.head)
        if let rowSums = logSumExpView(pass, sequence: part.sequence, head: part.head) {
            pass.matmul.forward(part.q, weight: part.k, scale: scale, into: p)
            Softmax.causalProbabilities(p, logSumExp: rowSums)
        }
        let weights = dropping(pass, p, sequence: part.sequence, head: part.head)
        pass.matmul.weightGradient(weights, dMixed, accumulate: false, into: gradient.v)

        let dP = square(pass, pass.scratch(dScores))
        pass.matmul.forward(dMixed, weight: part.v, into: dP)
        probabilityDropout.apply(
            pass, dP, firstElement: firstProbability(pass, sequence: part.sequence, head: part.head), into: dP
        )
        // Σ_j P_ij·dP_ij = dO_i·O_i, dropout or not (Dao et al. 2022, eq. 4).
        let rowDots = pass.scratch(delta).vector.slice(0..<pass.batch.length)
        Softmax.rowDots(dMixed, mixed, into: rowDots)
        Softmax.causalBackward(dP, probabilities: p, delta: rowDots, scale: scale)

        pass.matmul.inputGradient(dP, weight: part.k, into: gradient.q)
        pass.matmul.weightGradient(dP, part.q, accumulate: false, into: gradient.k)
    }

    // MARK: Views of one sequence and head, s = length of the batch's sequences

    /// q, k and v `[s, d]` of one head within `[t, 3h]`.
    private struct HeadViews {
        let q: Matrix
        let k: Matrix
        let v: Matrix
        let sequence: Int
        let head: Int
        private let rows: Range<Int>

        init(_ layer: AttentionLayer, _ pass: Pass, _ joint: Matrix, sequence: Int, head: Int) {
            let (width, length) = (layer.heads * layer.headWidth, pass.batch.length)
            rows = sequence * length..<(sequence + 1) * length
            let first = head * layer.headWidth
            let block = joint.rows(rows)
            q = block.columns(first..<first + layer.headWidth)
            k = block.columns(width + first..<width + first + layer.headWidth)
            v = block.columns(2 * width + first..<2 * width + first + layer.headWidth)
            self.sequence = sequence
            self.head = head
        }

        /// This head's part `[s, d]` of `[t, h]`.
        func of(_ matrix: Matrix, of layer: AttentionLayer) -> Matrix {
            matrix.rows(rows).columns(head * layer.headWidth..<(head + 1) * layer.headWidth)
        }
    }

    private func square(_ pass: Pass, _ matrix: Matrix) -> Matrix {
        matrix.rows(0..<pass.batch.length).columns(0..<pass.batch.length)
    }

    private func probabilityView(_ pass: Pass, sequence: Int, head: Int) -> Matrix {
        if let probabilities { return square(pass, pass.scratch(probabilities)) }
        guard let storedProbabilities else { preconditionFailure("probabilities are stored or recomputed") }
        let first = (sequence * heads + head) * context
        return square(pass, pass.activation(storedProbabilities).rows(first..<first + context))
    }

    private func logSumExpView(_ pass: Pass, sequence: Int, head: Int) -> Vector? {
        guard let logSumExp else { return nil }
        let row = sequence * heads + head
        return pass.activation(logSumExp).rows(row..<row + 1).vector.slice(0..<pass.batch.length)
    }

    private func firstProbability(_ pass: Pass, sequence: Int, head: Int) -> Int {
        ((pass.batch.firstSequence + sequence) * heads + head) * pass.batch.length * pass.batch.length
    }

    /// The probabilities after dropout: themselves when nothing is dropped.
    private func dropping(_ pass: Pass, _ p: Matrix, sequence: Int, head: Int) -> Matrix {
        guard let dropped, probabilityDropout.isActive(pass) else { return p }
        let kept = square(pass, pass.scratch(dropped))
        probabilityDropout.apply(
            pass, p, firstElement: firstProbability(pass, sequence: sequence, head: head), into: kept)
        return kept
    }
}
