import Configs
import Kernels

/// What an encoder–decoder's encoder makes of sources, and what its decoder keeps of it. Shapes: c = width of all heads of
/// keys.
extension CachedDecoder {
    /// Sequences begin anew and look at sources, each of 1 to `sourceLength` tokens: in an encoder–decoder, before anything
    /// else. Sources go through the encoder together, whole ones that have some hundred rows.
    public func look(at sources: [(source: [Int32], sequence: Int)]) {
        var (rows, segments) = ([Row](), [Range<Int>]())
        for (source, sequence) in sources {
            precondition(
                (1...config.sourceLength).contains(source.count), "a source of \(source.count) tokens")
            if rows.count + source.count > Self.sourceRows(config) {
                encode(rows, segments)
                (rows, segments) = ([], [])
            }
            segments.append(rows.count..<rows.count + source.count)
            rows += source.enumerated().map { Row(token: $1, sequence: sequence, position: $0) }
        }
        encode(rows, segments)
    }

    /// From the tokens of whole sources, of which each of `segments` is one, to the decoder's keys and values of them.
    private func encode(_ rows: [Row], _ segments: [Range<Int>]) {
        guard let encoder else { preconditionFailure("a model without an encoder in front of its decoder") }
        forward(rows, through: encoder) { _ in
            turnAll(segments, encoder)
            attendWithin(segments)
        }
        let memory = output(of: encoder).rows(0..<rows.count)
        for segment in segments {
            let sequence = rows[segment.lowerBound].sequence
            clear(sequence)
            sourceCache.clear(sequence)
            sourceCache.advance(sequence, by: segment.count)
        }
        let keysAndValues = projected.rows(0..<rows.count).columns(0..<2 * config.keyWidth)
        for (layer, block) in stack.blocks.enumerated() {
            guard let crossAttention = block.crossAttention else { preconditionFailure("no encoder–decoder") }
            let (weight, bias) = crossAttention.keyValue
            multiply(memory, weight, bias, into: keysAndValues)
            keep(layer, keysAndValues, segments.map { (rows[$0.lowerBound].sequence, $0) })
        }
    }

    /// Keys, then values, of sources `[n, 2c]`, whose rows are those of one sequence each.
    private func keep(_ layer: Int, _ keysAndValues: Matrix, _ sources: [(sequence: Int, rows: Range<Int>)]) {
        let heads = config.numKVHeads
        team.split(sources.count * heads, (self, layer, keysAndValues, sources)) { operands, indices, _ in
            let (decoder, layer, all, sources) = operands
            let (c, width) = (decoder.config.keyWidth, decoder.headWidth)
            for index in indices {
                let (number, head) = index.quotientAndRemainder(dividingBy: decoder.config.numKVHeads)
                let (sequence, rows) = sources[number]
                let columns = head * width..<(head + 1) * width
                decoder.sourceCache.put(
                    layer, sequence, head, position: 0, keys: all.rows(rows).columns(columns),
                    values: all.rows(rows).columns(c + columns.lowerBound..<c + columns.upperBound))
            }
        }
    }

    private func turnAll(_ segments: [Range<Int>], _ stack: CachedStack) {
        guard config.positions == .rotary else { return }
        for segment in segments {
            for head in 0..<config.numKVHeads { turn(projected.rows(segment), head: head, from: 0, stack) }
        }
    }

    /// Rows of each of `segments` to all rows of it, by what `projected` has.
    private func attendWithin(_ segments: [Range<Int>]) {
        team.split(segments.count * config.numHeads, (self, segments)) { operands, indices, member in
            let (decoder, segments) = operands
            let (h, c, width) = (decoder.config.dModel, decoder.config.keyWidth, decoder.headWidth)
            let (matmul, scores) = (decoder.matmul.members[member], decoder.scores[member])
            for index in indices {
                let (number, head) = index.quotientAndRemainder(dividingBy: decoder.config.numHeads)
                let segment = segments[number]
                let all = decoder.projected.rows(segment)
                let first = head / decoder.group * width
                let keys = all.columns(h + first..<h + first + width)
                let values = all.columns(h + c + first..<h + c + first + width)
                let columns = head * width..<(head + 1) * width
                for start in stride(from: 0, to: segment.count, by: scores.rows) {
                    let rows = start..<min(start + scores.rows, segment.count)
                    let block = scores.rows(0..<rows.count).columns(0..<segment.count)
                    matmul.forward(
                        all.rows(rows).columns(columns), weight: keys, scale: decoder.scale, into: block)
                    Softmax.forward(block, visible: .first(segment.count), logSumExp: nil)
                    matmul.inputGradient(
                        block, weight: values,
                        into: decoder.mixed.rows(segment).rows(rows).columns(columns))
                }
            }
        }
    }
}
