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

    let keys: Keys
    let dropout: DropoutLayer
    let heads: Int
    /// Query heads that share one of keys and values.
    let group: Int
    let width: Int
    /// Queries of a sequence, as planned.
    let context: Int
    /// And keys.
    let numKeys: Int
    /// Rows of a block of queries, unless it is the last.
    let block: Int

    /// `[b·a, s]` when recomputed; `[b·a·s, n]` when stored.
    let logSumExp: Slot?
    let storedProbabilities: KeptSlot?
    let scratch: Scratch
    /// How keys and values of a head are kept as tiles while blocks of queries are multiplied with them; nil where products are
    /// not done in tiles, or are too small for them.
    let tiles: TilePrecision?

    /// For every member of the team one block of one head, `[T·block, n]` each: probabilities when they are recomputed or kept
    /// in 16 bits, what dropout leaves of them, and the gradient; `[T, block]`.
    struct Scratch {
        let probabilities: Slot?
        let dropped: Slot?
        let gradient: Slot
        let delta: Slot
        /// Where activations are kept in 16 bits, what of a head is in fp32 at one time: keys, values and their gradients, and a
        /// block of queries, outputs and the gradients of both, `[T, 4(n + block)·d]`.
        let head: Slot?
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
        let isHalf = plan.format != nil
        // Of the last block of rows, which looks at most keys.
        plan.addProduct(m: block, n: numKeys, k: width)
        plan.addProduct(m: block, n: width, k: numKeys)
        plan.addProduct(m: numKeys, n: width, k: block)
        let isInTiles = plan.addHead(rows: block, keys: numKeys, width: width)
        let threads = plan.threads
        let (scratch, other) = plan.workspace.scope { workspace in
            let other = beside(&workspace)
            func reserve(_ part: String) -> Slot {
                workspace.reserve("\(name).\(part)", rows: threads * block, columns: numKeys)
            }
            let scratch = Scratch(
                probabilities: isRecomputed || isHalf ? reserve("scores") : nil,
                dropped: model.dropout > 0 ? reserve("dropped") : nil,
                gradient: reserve("scores.gradient"),
                delta: workspace.reserve("\(name).delta", rows: threads, columns: block),
                head: isHalf
                    ? workspace.reserve(
                        "\(name).head", rows: threads, columns: 4 * (numKeys + block) * width)
                    : nil)
            return (scratch, other)
        }
        let result = AttentionHeads(
            keys: keys, dropout: DropoutLayer(plan: &plan), heads: model.numHeads,
            group: model.numHeads / model.numKVHeads, width: width, context: length, numKeys: numKeys,
            block: block,
            logSumExp: isRecomputed
                ? plan.activations.reserve("\(name).log_sum_exp", rows: rows, columns: length) : nil,
            storedProbabilities: isRecomputed
                ? nil
                : plan.keep("\(name).probabilities", rows: rows * length, columns: numKeys),
            scratch: scratch, tiles: isInTiles ? plan.tiles : nil)
        return (result, other)
    }

    /// What goes into all heads, or its gradient: `[t, h]` queries, and `[tokens of keys, c]` keys and values.
    struct Operands {
        let queries: StoredMatrix
        let keys: StoredMatrix
        let values: StoredMatrix
    }

    private var scale: Float { 1 / Float(width).squareRoot() }

    /// `mixed` `[t, h]` = dropout(P)·V with P = softmax(scale·Q·Kᵀ), head by head.
    func forward(_ pass: Pass, _ operands: Operands, into mixed: StoredMatrix) {
        pass.team.split(pass.batch.sequences * heads, (self, pass, operands, mixed)) {
            shared, indices, member in
            let (layer, pass, operands, mixed) = shared
            for index in indices {
                let head = Head(layer, index, member: member)
                layer.forward(
                    pass, head, layer.part(of: operands, head, pass),
                    into: layer.queries(of: head, in: mixed, pass))
            }
        }
    }

    /// Writes `gradient` from what `forward` took and gave, and from the gradient of that. Calls `pause` whenever every
    /// thread has done some heads.
    func backward(
        _ pass: Pass, _ operands: Operands, mixed: StoredMatrix, dMixed: StoredMatrix,
        into gradient: Operands, pause: () throws -> Void
    ) rethrows {
        // Heads that share keys and values add to the same gradients, so that one thread does them, one after the other.
        let count = pass.batch.sequences * heads / group
        let members = pass.team.count
        // Threads wait for each other at every pause, one by itself does not.
        let piece = members == 1 ? 1 : 4
        for first in stride(from: 0, to: (count + members - 1) / members, by: piece) {
            // Of each member's own share of all, whose rows its caches have.
            pass.team.split(
                members, (self, pass, count, first..<first + piece, operands, mixed, dMixed, gradient)
            ) { shared, _, member in
                let (layer, pass, count, piece, operands, mixed, dMixed, gradient) = shared
                let own = pass.team.share(of: count, for: member)
                for index in own.dropFirst(piece.lowerBound).prefix(piece.count) {
                    layer.backward(
                        pass, index, member: member, operands, mixed: mixed, dMixed: dMixed, into: gradient)
                }
            }
            try pause()
        }
    }

    /// The heads that share keys and values number `index` of all sequences.
    private func backward(
        _ pass: Pass, _ index: Int, member: Int, _ operands: Operands, mixed: StoredMatrix,
        dMixed: StoredMatrix, into gradient: Operands
    ) {
        for number in 0..<group {
            let head = Head(self, index * group + number, member: member)
            backward(
                pass, head, part(of: operands, head, pass), mixed: queries(of: head, in: mixed, pass),
                dMixed: queries(of: head, in: dMixed, pass), into: part(of: gradient, head, pass),
                isFirst: number == 0, isLast: number == group - 1)
        }
    }

    // MARK: One head of one sequence, s = its queries, n = its keys, d = width of a head

    private func forward(_ pass: Pass, _ head: Head, _ part: Operands, into mixed: StoredMatrix) {
        let matmul = pass.matmul.members[head.member]
        let allKeys = weight(pass, head, part.keys, .keys)
        let allValues = weight(pass, head, part.values, .values)
        matmul.packForward(allKeys)
        matmul.packInputGradient(allValues)
        for first in stride(from: 0, to: pass.batch.length, by: block) {
            let (rows, keys) = blockRows(pass, from: first)
            let kept = probabilities(pass, head, rows, keys)
            let scores = kept.destination(probabilityMemory(pass, head))
            let q = operand(pass, head, part.queries.rows(rows), .queries)
            matmul.forward(q, weight: allKeys.firstRows(keys), scale: scale, into: .full(scores))
            Softmax.forward(
                scores, visible: visible(pass, head), logSumExp: logSumExpView(pass, head, rows))
            kept.keepRounding(scores)
            let weights = dropping(pass, scores, head, rows)
            write(pass, head, mixed.rows(rows), .output, depth: keys) {
                matmul.inputGradient(.full(weights), weight: allValues.firstRows(keys), into: $0)
            }
        }
    }

    /// Writes `gradient`, that of queries, keys and values. Of the heads that share keys and values, those behind the first
    /// add to the gradients of these, which are complete behind the last.
    private func backward(
        _ pass: Pass, _ head: Head, _ part: Operands, mixed: StoredMatrix, dMixed: StoredMatrix,
        into gradient: Operands, isFirst: Bool, isLast: Bool
    ) {
        let matmul = pass.matmul.members[head.member]
        let allKeys = weight(pass, head, part.keys, .keys)
        let allValues = weight(pass, head, part.values, .values)
        if logSumExp != nil { matmul.packForward(allKeys) }
        matmul.packInputGradient(allKeys)
        matmul.packForward(allValues)
        let dKeys = gradient.keys.destination(memory(pass, head, .dKeys))
        let dValues = gradient.values.destination(memory(pass, head, .dValues))
        let lastBlock = (pass.batch.length - 1) / block * block
        // Last block first: it has all keys, so that it can write the gradients that others add to.
        for first in stride(from: lastBlock, through: 0, by: -block) {
            let (rows, keys) = blockRows(pass, from: first)
            let adds = !isFirst || first != lastBlock
            let q = operand(pass, head, part.queries.rows(rows), .queries)
            let (k, v) = (allKeys.firstRows(keys), allValues.firstRows(keys))
            let p = probabilities(pass, head, rows, keys).read(probabilityMemory(pass, head))
            if let rowSums = logSumExpView(pass, head, rows) {
                matmul.forward(q, weight: k, scale: scale, into: .full(p))
                Softmax.probabilities(p, visible: visible(pass, head), logSumExp: rowSums)
            }
            let upstream = operand(pass, head, dMixed.rows(rows), .dOutput)
            let weights = dropping(pass, p, head, rows)
            matmul.weightGradient(.full(weights), upstream, accumulate: adds, into: dValues.rows(0..<keys))

            let dP = blockView(pass, scratch.gradient, head, rows, keys)
            matmul.forward(upstream, weight: v, scale: 1, into: .full(dP))
            drop(pass, dP, head, rows, into: dP)
            // Σ_j P_ij·dP_ij = dO_i·O_i, dropout or not (Dao et al. 2022, eq. 4).
            let rowDots = pass.scratch(scratch.delta).rows(head.member..<head.member + 1).vector
                .slice(0..<rows.count)
            let output = operand(pass, head, mixed.rows(rows), .output)
            Softmax.rowDots(upstream, output, into: rowDots)
            Softmax.backward(
                dP, visible: visible(pass, head), probabilities: p, delta: rowDots, scale: scale)

            write(pass, head, gradient.queries.rows(rows), .dQueries, depth: keys) {
                matmul.inputGradient(.full(dP), weight: k, into: $0)
            }
            matmul.weightGradient(.full(dP), q, accumulate: adds, into: dKeys.rows(0..<keys))
        }
        guard isLast else { return }
        gradient.keys.keep(dKeys)
        gradient.values.keep(dValues)
    }
}
