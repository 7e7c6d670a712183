import Configs
import Kernels

/// Multi-head self-attention (Vaswani et al. 2017) with GPT-2's joint q‖k‖v projection, one (sequence, head) at a time
/// and within it one block of query rows: in a decoder, causal, with the keys up to its last row; in an encoder with all
/// keys, of which padding is masked. Heads of keys and values may be
/// fewer, each shared by a group of query heads (Ainslie et al. 2023); queries and keys may be turned by their positions.
///
/// Keeps q‖k‖v and the heads' outputs, t·(2h + 2c) elements with c = h·(heads of keys)/a, and either the log-sum-exp of every row of scores, t·a elements
/// (`recomputed`; Dao et al. 2022), or the probabilities, b·a·s² elements (`stored`).
/// FLOPs: 4·t·h·(h + c) + 4·b·n·h forward, twice that backward, and 2·b·n·h more where scores are recomputed; n is the number of
/// pairs of a query and a key that the blocks of a sequence span, between s²/2 and s² in a decoder, s² in an encoder.
struct AttentionLayer: BranchLayer {
    private let qkv: LinearLayer
    private let output: LinearLayer
    private let probabilityDropout: DropoutLayer
    private let mode: ModelConfig.AttentionMode
    private let isCausal: Bool
    private let heads: Int
    /// Query heads that share one of keys and values.
    private let group: Int
    private let headWidth: Int
    private let context: Int
    /// Rows of a block of queries, unless it is the last.
    private let block: Int

    /// `[s, d]`, where positions are rotary.
    private let rotaryTable: Slot?

    /// `[t, h + 2c]` and `[t, h]`.
    private let projected: Slot
    private let mixed: Slot
    /// `[b·a, s]` when recomputed; `[b·a·s, s]` when stored.
    private let logSumExp: Slot?
    private let storedProbabilities: Slot?

    private let dProjected: Slot
    private let dMixed: Slot
    /// `[T·block, s]` each, for every member of the team one block of one head: probabilities when recomputed, what dropout
    /// leaves of them, and the gradient; `[T, block]`.
    private let probabilities: Slot?
    private let dropped: Slot?
    private let dScores: Slot
    private let delta: Slot

    init(_ name: String, plan: inout ModelPlan) {
        let model = plan.model
        let (width, length, tokens) = (model.dModel, model.contextLength, plan.tokens)
        heads = model.numHeads
        group = heads / model.numKVHeads
        headWidth = width / heads
        rotaryTable = model.positions == .rotary ? plan.positionTable?.slot : nil
        let joint = width + 2 * model.numKVHeads * headWidth
        context = length
        mode = model.attention
        isCausal = model.family == .decoder
        qkv = LinearLayer(
            "\(name).qkv", inputs: width, outputs: joint, standardDeviation: 0.02, plan: &plan)
        output = LinearLayer(
            "\(name).output", inputs: width, outputs: width,
            standardDeviation: model.residualProjectionDeviation, plan: &plan)
        probabilityDropout = DropoutLayer(plan: &plan)

        projected = plan.activations.reserve("\(name).qkv", rows: tokens, columns: joint)
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
        let (rowsOfBlock, threads) = (min(ModelConfig.attentionBlockRows, length), plan.threads)
        // Of the last block of rows, which looks at most keys.
        plan.addProduct(m: rowsOfBlock, n: length, k: headWidth)
        plan.addProduct(m: rowsOfBlock, n: headWidth, k: length)
        plan.addProduct(m: length, n: headWidth, k: rowsOfBlock)
        block = rowsOfBlock
        (dProjected, dMixed, probabilities, dropped, dScores, delta) = plan.workspace.scope { workspace in
            (
                workspace.reserve("\(name).qkv.gradient", rows: tokens, columns: joint),
                workspace.reserve("\(name).mixed.gradient", rows: tokens, columns: width),
                keepsProbabilities
                    ? nil : workspace.reserve("\(name).scores", rows: threads * rowsOfBlock, columns: length),
                model.dropout > 0
                    ? workspace.reserve("\(name).dropped", rows: threads * rowsOfBlock, columns: length)
                    : nil,
                workspace.reserve("\(name).scores.gradient", rows: threads * rowsOfBlock, columns: length),
                workspace.reserve("\(name).delta", rows: threads, columns: rowsOfBlock)
            )
        }
    }

    private var scale: Float { 1 / Float(headWidth).squareRoot() }

    /// `x` `[t, h]` → `y` `[t, h]`.
    func forward(_ pass: Pass, _ x: Matrix, into y: Matrix) {
        let all = pass.tokenRows(pass.activation(projected))
        let mix = pass.tokenRows(pass.activation(mixed))
        qkv.forward(pass, x, into: all)
        turn(pass, all, inverse: false)
        pass.team.split(pass.batch.sequences * heads, (self, pass, all, mix)) { operands, indices, member in
            let (layer, pass, all, mix) = operands
            for index in indices {
                let head = Head(layer, index, member: member)
                layer.forward(
                    pass, head, layer.views(of: head, in: all, pass),
                    into: layer.view(of: head, in: mix, pass))
            }
        }
        output.forward(pass, mix, into: y)
    }

    /// Adds the parameters' gradients from `dy` `[t, h]` and the forward's `x`, and writes `dx`, which may be `dy`.
    /// Calls `pause` whenever every thread has done a head.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: Matrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows {
        let all = pass.tokenRows(pass.activation(projected))
        let mix = pass.tokenRows(pass.activation(mixed))
        let dAll = pass.tokenRows(pass.scratch(dProjected))
        let dMix = pass.tokenRows(pass.scratch(dMixed))
        try output.backward(pass, dy, x: mix, into: dMix, pause: pause)
        try pause()
        // Heads that share keys and values add to the same gradients, so that one thread does them, one after the other.
        let count = pass.batch.sequences * heads / group
        for first in stride(from: 0, to: count, by: pass.team.count) {
            pass.team.split(
                min(pass.team.count, count - first), (self, pass, first, all, mix, dAll, dMix)
            ) { operands, indices, member in
                let (layer, pass, first, all, mix, dAll, dMix) = operands
                for index in indices {
                    for number in 0..<layer.group {
                        let head = Head(layer, (first + index) * layer.group + number, member: member)
                        layer.backward(
                            pass, head, layer.views(of: head, in: all, pass),
                            mixed: layer.view(of: head, in: mix, pass),
                            dMixed: layer.view(of: head, in: dMix, pass),
                            into: layer.views(of: head, in: dAll, pass), addsToKeys: number > 0)
                    }
                }
            }
            try pause()
        }
        turn(pass, dAll, inverse: true)
        try qkv.backward(pass, dAll, x: x, into: dx, pause: pause)
    }

    /// Turns the queries and keys of `joint` `[t, h + 2c]` by their positions, where these are rotary.
    private func turn(_ pass: Pass, _ joint: Matrix, inverse: Bool) {
        guard let rotaryTable else { return }
        let width = (heads + heads / group) * headWidth
        Rotary.rotate(
            joint.columns(0..<width), table: pass.scratch(rotaryTable), length: pass.batch.length,
            inverse: inverse, on: pass.team)
    }

    // MARK: One head of one sequence, s = length of the batch's sequences, d = width of a head

    private struct Head {
        let sequence: Int
        let index: Int
        /// Who works on it.
        let member: Int

        /// Number `number` of all heads of all sequences.
        init(_ layer: AttentionLayer, _ number: Int, member: Int) {
            (sequence, index) = number.quotientAndRemainder(dividingBy: layer.heads)
            self.member = member
        }
    }

    /// `[s, d]` each.
    private struct HeadViews {
        let q: Matrix
        let k: Matrix
        let v: Matrix
    }

    /// `mixed` `[s, d]` = dropout(P)·V with P = softmax(scale·Q·Kᵀ).
    private func forward(_ pass: Pass, _ head: Head, _ part: HeadViews, into mixed: Matrix) {
        let matmul = pass.matmul.members[head.member]
        for first in stride(from: 0, to: pass.batch.length, by: block) {
            let (rows, keys) = blockRows(pass, from: first)
            let scores = probabilityView(pass, head, rows, keys)
            matmul.forward(part.q.rows(rows), weight: part.k.rows(keys), scale: scale, into: scores)
            Softmax.forward(
                scores, visible: visible(pass, head), logSumExp: logSumExpView(pass, head, rows))
            let weights = dropping(pass, scores, head, rows)
            matmul.inputGradient(weights, weight: part.v.rows(keys), into: mixed.rows(rows))
        }
    }

    /// Writes `gradient`, that of q, k and v, or adds to that of k and v.
    private func backward(
        _ pass: Pass, _ head: Head, _ part: HeadViews, mixed: Matrix, dMixed: Matrix,
        into gradient: HeadViews, addsToKeys: Bool
    ) {
        let length = pass.batch.length
        let matmul = pass.matmul.members[head.member]
        let lastBlock = (length - 1) / block * block
        // Last block first: it has all keys, so that it can write the gradients that others add to.
        for first in stride(from: lastBlock, through: 0, by: -block) {
            let (rows, keys) = blockRows(pass, from: first)
            let adds = addsToKeys || first != lastBlock
            let (q, k, v) = (part.q.rows(rows), part.k.rows(keys), part.v.rows(keys))
            let p = probabilityView(pass, head, rows, keys)
            if let rowSums = logSumExpView(pass, head, rows) {
                matmul.forward(q, weight: k, scale: scale, into: p)
                Softmax.probabilities(p, visible: visible(pass, head), logSumExp: rowSums)
            }
            let upstream = dMixed.rows(rows)
            let weights = dropping(pass, p, head, rows)
            matmul.weightGradient(weights, upstream, accumulate: adds, into: gradient.v.rows(keys))

            let dP = scratch(pass, dScores, head, rows, keys)
            matmul.forward(upstream, weight: v, into: dP)
            dropout(pass, dP, head, rows, into: dP)
            // Σ_j P_ij·dP_ij = dO_i·O_i, dropout or not (Dao et al. 2022, eq. 4).
            let rowDots = pass.scratch(delta).rows(head.member..<head.member + 1).vector.slice(0..<rows.count)
            Softmax.rowDots(upstream, mixed.rows(rows), into: rowDots)
            Softmax.backward(
                dP, visible: visible(pass, head), probabilities: p, delta: rowDots, scale: scale)

            matmul.inputGradient(dP, weight: k, into: gradient.q.rows(rows))
            matmul.weightGradient(dP, q, accumulate: adds, into: gradient.k.rows(keys))
        }
    }

    /// The rows of the block that starts at row `first`, and the keys that they are multiplied with.
    private func blockRows(_ pass: Pass, from first: Int) -> (rows: Range<Int>, keys: Range<Int>) {
        let end = min(first + block, pass.batch.length)
        return (first..<end, 0..<(isCausal ? end : pass.batch.length))
    }

    /// Which of these keys the rows look at.
    private func visible(_ pass: Pass, _ head: Head) -> VisibleKeys {
        if isCausal { return .past }
        return .first(pass.batch.lengths.map { Int($0[head.sequence]) } ?? pass.batch.length)
    }

    /// q, k and v of `head` within `[t, h + 2c]`.
    private func views(of head: Head, in joint: Matrix, _ pass: Pass) -> HeadViews {
        let key = heads + head.index / group
        return HeadViews(
            q: view(head.sequence, head.index, in: joint, pass),
            k: view(head.sequence, key, in: joint, pass),
            v: view(head.sequence, key + heads / group, in: joint, pass))
    }

    /// The part `[s, d]` of `head` in `[t, h]`.
    private func view(of head: Head, in matrix: Matrix, _ pass: Pass) -> Matrix {
        view(head.sequence, head.index, in: matrix, pass)
    }

    /// Of `matrix` `[t, n·d]` the rows of a sequence and the columns of the head that is number `index` in it.
    private func view(_ sequence: Int, _ index: Int, in matrix: Matrix, _ pass: Pass) -> Matrix {
        let length = pass.batch.length
        return matrix.rows(sequence * length..<(sequence + 1) * length)
            .columns(index * headWidth..<(index + 1) * headWidth)
    }

    /// `[rows, keys]`
    private func probabilityView(
        _ pass: Pass, _ head: Head, _ rows: Range<Int>, _ keys: Range<Int>
    ) -> Matrix {
        if let probabilities { return scratch(pass, probabilities, head, rows, keys) }
        guard let storedProbabilities else { preconditionFailure("probabilities are stored or recomputed") }
        let first = (head.sequence * heads + head.index) * context
        return pass.activation(storedProbabilities).rows(first..<first + context).rows(rows)
            .columns(keys)
    }

    /// `[rows, keys]` of what the member that works on `head` has for itself of `slot`.
    private func scratch(
        _ pass: Pass, _ slot: Slot, _ head: Head, _ rows: Range<Int>, _ keys: Range<Int>
    ) -> Matrix {
        let first = head.member * block
        return pass.scratch(slot).rows(first..<first + rows.count).columns(keys)
    }

    private func logSumExpView(_ pass: Pass, _ head: Head, _ rows: Range<Int>) -> Vector? {
        guard let logSumExp else { return nil }
        let row = head.sequence * heads + head.index
        return pass.activation(logSumExp).rows(row..<row + 1).vector.slice(rows)
    }

    /// The probabilities after dropout: themselves when nothing is dropped.
    private func dropping(_ pass: Pass, _ p: Matrix, _ head: Head, _ rows: Range<Int>) -> Matrix {
        guard let dropped, probabilityDropout.isActive(pass) else { return p }
        let kept = scratch(pass, dropped, head, rows, 0..<p.columns)
        dropout(pass, p, head, rows, into: kept)
        return kept
    }

    /// Drops elements by their place in the head's whole square, so that blocks do not matter.
    private func dropout(_ pass: Pass, _ x: Matrix, _ head: Head, _ rows: Range<Int>, into y: Matrix) {
        let length = pass.batch.length
        let square = (pass.batch.firstSequence + head.sequence) * heads + head.index
        probabilityDropout.apply(
            pass, x, firstElement: (square * length + rows.lowerBound) * length, rowLength: length, into: y,
            on: .alone)
    }
}
