import Configs
import Kernels

/// Attention to what the cache holds. Shapes: d = width of a head.
extension CachedDecoder {
    var headWidth: Int { config.dModel / config.numHeads }
    /// Query heads that share one of keys and values.
    var group: Int { config.numHeads / config.numKVHeads }
    var scale: Float { 1 / Float(headWidth).squareRoot() }

    /// Turns queries and keys in `projected` where positions are rotary, and keeps the keys and values of `tokens`, of which
    /// `segments` are of one sequence each and follow one another.
    func remember(_ layer: Int, _ tokens: [Row], _ segments: [Range<Int>]) {
        let heads = config.numKVHeads
        team.split(segments.count * heads, (self, layer, tokens, segments)) { operands, indices, _ in
            let (decoder, layer, tokens, segments) = operands
            let (h, c, width) = (decoder.config.dModel, decoder.config.keyWidth, decoder.headWidth)
            for index in indices {
                let (number, head) = index.quotientAndRemainder(dividingBy: decoder.config.numKVHeads)
                let (rows, first) = (segments[number], tokens[segments[number].lowerBound])
                let all = decoder.projected.rows(rows)
                decoder.turn(all, head: head, from: first.position, decoder.stack)
                decoder.cache.put(
                    layer, first.sequence, head, position: first.position,
                    keys: all.columns(h + head * width..<h + (head + 1) * width),
                    values: all.columns(h + c + head * width..<h + c + (head + 1) * width))
            }
        }
    }

    /// Turns the keys of a head in `rows` of `projected`, and the queries that share them, where positions are rotary; the
    /// rows' positions follow one another from `position` on.
    func turn(_ rows: Matrix, head: Int, from position: Int, _ stack: CachedStack) {
        guard config.positions == .rotary else { return }
        let (h, width) = (config.dModel, headWidth)
        let table = stack.positions.rows(position..<position + rows.rows)
        let queries = rows.columns(head * group * width..<(head + 1) * group * width)
        let keys = rows.columns(h + head * width..<h + (head + 1) * width)
        Rotary.rotate(queries, table: table, length: rows.rows, inverse: false)
        Rotary.rotate(keys, table: table, length: rows.rows, inverse: false)
    }

    /// Keys and values of a head that `row` looks at: of its own sequence up to itself, or of the source.
    private func attended(_ layer: Int, _ row: Row, head: Int, toSource: Bool) -> (
        keys: Matrix, values: Matrix, count: Int
    ) {
        let (sequence, head) = (row.sequence, head / group)
        return toSource
            ? (
                sourceCache.keys(layer, sequence, head), sourceCache.values(layer, sequence, head),
                sourceCache.lengths[sequence]
            ) : (cache.keys(layer, sequence, head), cache.values(layer, sequence, head), row.position + 1)
    }

    /// Each row by itself, to its own sequence or to the source.
    func attendRowByRow(_ layer: Int, _ rows: [Row], toSource: Bool) {
        team.split(rows.count * config.numHeads, (self, layer, rows, toSource)) { operands, indices, member in
            let (decoder, layer, rows, toSource) = operands
            let width = decoder.headWidth
            for index in indices {
                let (number, head) = index.quotientAndRemainder(dividingBy: decoder.config.numHeads)
                let row = rows[number]
                let columns = head * width..<(head + 1) * width
                let (keys, values, count) = decoder.attended(layer, row, head: head, toSource: toSource)
                CachedAttention.forward(
                    query: decoder.projected.rows(number..<number + 1).vector.slice(columns),
                    keys: keys, values: values, count: count, scale: decoder.scale,
                    scores: decoder.scores[member].rows(0..<1).vector,
                    into: decoder.mixed.rows(number..<number + 1).vector.slice(columns))
            }
        }
    }

    /// Rows `rows` of one sequence, of which `first` is the first.
    func attendInBlock(_ layer: Int, _ first: Row, _ rows: Range<Int>) {
        team.split(config.numHeads, (self, layer, first, rows)) { operands, heads, member in
            let (decoder, layer, first, rows) = operands
            let (width, end) = (decoder.headWidth, first.position + rows.count)
            let matmul = decoder.matmul.members[member]
            for head in heads {
                let columns = head * width..<(head + 1) * width
                let query = decoder.projected.rows(rows).columns(columns)
                let scores = decoder.scores[member].rows(0..<rows.count).columns(0..<end)
                let (keys, values) = (
                    decoder.cache.keys(layer, first.sequence, head / decoder.group).columns(0..<end),
                    decoder.cache.values(layer, first.sequence, head / decoder.group).rows(0..<end)
                )
                // Keys lie transposed, so that Q·Kᵀ is the product of an input gradient.
                matmul.inputGradient(query, weight: keys, into: scores)
                for row in 0..<rows.count {
                    Reductions.scale(scores.rows(row..<row + 1).rowVector, by: decoder.scale)
                }
                Softmax.forward(scores, visible: .past, logSumExp: nil)
                matmul.inputGradient(scores, weight: values, into: decoder.mixed.rows(rows).columns(columns))
            }
        }
    }
}

extension MatrixView {
    /// The elements of a matrix of one row.
    fileprivate var rowVector: VectorView<Element> {
        precondition(rows == 1, "\(rows) rows are no vector")
        return VectorView(base: base, count: columns)
    }
}
