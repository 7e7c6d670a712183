import Configs
import Kernels

/// Scaled dot-product attention (Vaswani et al. 2017), one (sequence, head) at a time and within it one block of query
/// rows. Heads of keys and values may be fewer than those of queries, each shared by a group of them (Ainslie et al. 2023).
///
/// With s queries and n keys in a sequence, keeps either the log-sum-exp of every row of scores, b·a·s elements
/// (`recomputed`; Dao et al. 2022), or the probabilities, b·a·s·n elements (`stored`).
/// FLOPs: 4·b·p·h forward, twice that backward, and 2·b·p·h more where scores are recomputed; p is the number of pairs of a
/// query and a key that the blocks of a sequence span: of its own past between s²/2 and s², otherwise s·n.
struct AttentionHeads {
    /// The keys that a query looks at.
    enum Keys {
        /// Those of its own sequence up to its own place: a causal mask.
        case past
        /// All of its own sequence, of which padding is masked.
        case sequence
        /// All of the encoder's sequence, of which padding is masked.
        case source
    }

    private let keys: Keys
    private let dropout: DropoutLayer
    private let heads: Int
    /// Query heads that share one of keys and values.
    private let group: Int
    private let width: Int
    /// Queries of a sequence, as planned.
    private let context: Int
    /// Rows of a block of queries, unless it is the last.
    private let block: Int

    /// `[b·a, s]` when recomputed; `[b·a·s, n]` when stored.
    private let logSumExp: Slot?
    private let storedProbabilities: Slot?
    private let scratch: Scratch

    /// For every member of the team one block of one head, `[T·block, n]` each: probabilities when recomputed, what dropout
    /// leaves of them, and the gradient; `[T, block]`.
    private struct Scratch {
        let probabilities: Slot?
        let dropped: Slot?
        let gradient: Slot
        let delta: Slot
    }

    /// Plans heads, with what their layer needs of workspace at the same time.
    static func plan<Beside>(
        _ name: String, _ keys: Keys, _ plan: inout ModelPlan, beside: (inout ArenaPlan) -> Beside
    ) -> (AttentionHeads, Beside) {
        let model = plan.model
        let (length, numKeys) = (plan.length, keys == .source ? model.sourceLength : plan.length)
        let (rows, block) = (plan.sequences * model.numHeads, min(ModelConfig.attentionBlockRows, length))
        let width = model.dModel / model.numHeads
        let isRecomputed = model.attention == .recomputed
        // Of the last block of rows, which looks at most keys.
        plan.addProduct(m: block, n: numKeys, k: width)
        plan.addProduct(m: block, n: width, k: numKeys)
        plan.addProduct(m: numKeys, n: width, k: block)
        let threads = plan.threads
        let (scratch, other) = plan.workspace.scope { workspace in
            let other = beside(&workspace)
            func reserve(_ part: String) -> Slot {
                workspace.reserve("\(name).\(part)", rows: threads * block, columns: numKeys)
            }
            let scratch = Scratch(
                probabilities: isRecomputed ? reserve("scores") : nil,
                dropped: model.dropout > 0 ? reserve("dropped") : nil,
                gradient: reserve("scores.gradient"),
                delta: workspace.reserve("\(name).delta", rows: threads, columns: block))
            return (scratch, other)
        }
        let result = AttentionHeads(
            keys: keys, dropout: DropoutLayer(plan: &plan), heads: model.numHeads,
            group: model.numHeads / model.numKVHeads, width: width, context: length, block: block,
            logSumExp: isRecomputed
                ? plan.activations.reserve("\(name).log_sum_exp", rows: rows, columns: length) : nil,
            storedProbabilities: isRecomputed
                ? nil
                : plan.activations.reserve("\(name).probabilities", rows: rows * length, columns: numKeys),
            scratch: scratch)
        return (result, other)
    }

    /// What goes into all heads, or its gradient: `[t, h]` queries, and `[tokens of keys, c]` keys and values.
    struct Operands {
        let queries: Matrix
        let keys: Matrix
        let values: Matrix
    }

    private var scale: Float { 1 / Float(width).squareRoot() }

    /// `mixed` `[t, h]` = dropout(P)·V with P = softmax(scale·Q·Kᵀ), head by head.
    func forward(_ pass: Pass, _ operands: Operands, into mixed: Matrix) {
        pass.team.split(pass.batch.sequences * heads, (self, pass, operands, mixed)) {
            shared, indices, member in
            let (layer, pass, operands, mixed) = shared
            for index in indices {
                let head = Head(layer, index, member: member)
                layer.forward(
                    pass, head, layer.views(of: head, in: operands, pass),
                    into: layer.queries(of: head, in: mixed, pass))
            }
        }
    }

    /// Writes `gradient` from what `forward` took and gave, and from the gradient of that. Calls `pause` whenever every
    /// thread has done a head.
    func backward(
        _ pass: Pass, _ operands: Operands, mixed: Matrix, dMixed: Matrix, into gradient: Operands,
        pause: () throws -> Void
    ) rethrows {
        // Heads that share keys and values add to the same gradients, so that one thread does them, one after the other.
        let count = pass.batch.sequences * heads / group
        for first in stride(from: 0, to: count, by: pass.team.count) {
            pass.team.split(
                min(pass.team.count, count - first), (self, pass, first, operands, mixed, dMixed, gradient)
            ) { shared, indices, member in
                let (layer, pass, first, operands, mixed, dMixed, gradient) = shared
                for index in indices {
                    for number in 0..<layer.group {
                        let head = Head(layer, (first + index) * layer.group + number, member: member)
                        layer.backward(
                            pass, head, layer.views(of: head, in: operands, pass),
                            mixed: layer.queries(of: head, in: mixed, pass),
                            dMixed: layer.queries(of: head, in: dMixed, pass),
                            into: layer.views(of: head, in: gradient, pass), addsToKeys: number > 0)
                    }
                }
            }
            try pause()
        }
    }

    // MARK: One head of one sequence, s = its queries, n = its keys, d = width of a head

    private struct Head {
        let sequence: Int
        let index: Int
        /// Who works on it.
        let member: Int

        /// Number `number` of all heads of all sequences.
        init(_ layer: AttentionHeads, _ number: Int, member: Int) {
            (sequence, index) = number.quotientAndRemainder(dividingBy: layer.heads)
            self.member = member
        }
    }

    /// q `[s, d]`, k and v `[n, d]`.
    private struct HeadViews {
        let q: Matrix
        let k: Matrix
        let v: Matrix
    }

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
        let matmul = pass.matmul.members[head.member]
        let lastBlock = (pass.batch.length - 1) / block * block
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

            let dP = blockView(pass, scratch.gradient, head, rows, keys)
            matmul.forward(upstream, weight: v, into: dP)
            drop(pass, dP, head, rows, into: dP)
            // Σ_j P_ij·dP_ij = dO_i·O_i, dropout or not (Dao et al. 2022, eq. 4).
            let rowDots = pass.scratch(scratch.delta).rows(head.member..<head.member + 1).vector
                .slice(0..<rows.count)
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
        return (first..<end, 0..<(keys == .past ? end : keyLength(pass)))
    }

    /// Keys of a sequence, padding among them.
    private func keyLength(_ pass: Pass) -> Int {
        keys == .source ? pass.source.length : pass.batch.length
    }

    /// Which of these keys the rows look at.
    private func visible(_ pass: Pass, _ head: Head) -> VisibleKeys {
        switch keys {
        case .past: .past
        case .sequence: .first(pass.batch.visibleLength(of: head.sequence))
        case .source: .first(pass.source.visibleLength(of: head.sequence))
        }
    }

    private func views(of head: Head, in operands: Operands, _ pass: Pass) -> HeadViews {
        func view(_ matrix: Matrix) -> Matrix {
            part(of: matrix, head.sequence, head.index / group, length: keyLength(pass))
        }
        return HeadViews(
            q: queries(of: head, in: operands.queries, pass), k: view(operands.keys),
            v: view(operands.values))
    }

    /// The part `[s, d]` of `head` in `[t, h]`.
    private func queries(of head: Head, in matrix: Matrix, _ pass: Pass) -> Matrix {
        part(of: matrix, head.sequence, head.index, length: pass.batch.length)
    }

    /// The rows of a sequence and the columns of the head that is number `index` in them.
    private func part(of matrix: Matrix, _ sequence: Int, _ index: Int, length: Int) -> Matrix {
        matrix.rows(sequence * length..<(sequence + 1) * length)
            .columns(index * width..<(index + 1) * width)
    }

    /// `[rows, keys]`
    private func probabilityView(
        _ pass: Pass, _ head: Head, _ rows: Range<Int>, _ keys: Range<Int>
    ) -> Matrix {
        if let slot = scratch.probabilities { return blockView(pass, slot, head, rows, keys) }
        guard let storedProbabilities else { preconditionFailure("probabilities are stored or recomputed") }
        let first = (head.sequence * heads + head.index) * context
        return pass.activation(storedProbabilities).rows(first..<first + context).rows(rows)
            .columns(keys)
    }

    /// `[rows, keys]` of what the member that works on `head` has for itself of `slot`.
    private func blockView(
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
        guard let dropped = scratch.dropped, dropout.isActive(pass) else { return p }
        let kept = blockView(pass, dropped, head, rows, 0..<p.columns)
        drop(pass, p, head, rows, into: kept)
        return kept
    }

    /// Drops elements by their place among all queries and keys of the head, so that blocks do not matter.
    private func drop(_ pass: Pass, _ x: Matrix, _ head: Head, _ rows: Range<Int>, into y: Matrix) {
        let number = (pass.batch.firstSequence + head.sequence) * heads + head.index
        let numKeys = keyLength(pass)
        dropout.apply(
            pass, x, firstElement: (number * pass.batch.length + rows.lowerBound) * numKeys,
            rowLength: numKeys, into: y, on: .alone)
    }
}
