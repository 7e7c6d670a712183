import Configs
import Kernels

/// A decoder that generates: it keeps the keys and values of the tokens behind it, so that a token more costs one row of
/// every product. A prompt goes through in pieces of some hundred rows, by the products of training; new tokens go through
/// together, a row of each sequence, by products that read every weight once.
///
/// Shapes: n rows of tokens, h `dModel`, f `dFF`, V vocabulary.
public final class CachedDecoder {
    public let config: ModelConfig
    /// Sequences side by side.
    public let sequences: Int
    /// Positions of a sequence, prompt included.
    public let capacity: Int

    private var cache: KeyValueCache
    private let blocks: [CachedBlock]
    private let embedding: Matrix
    /// Learned or sinusoidal `[s, h]`, or angles `[s, d]`.
    private let positions: Matrix
    private let finalNorm: CachedNorm?
    private let head: CachedWeight
    /// The parameters in bf16, in the order of the layout; empty where steps read fp32.
    private let halves: AlignedBuffer<BFloat16>
    private let team: ThreadTeam
    private let matmul: MatMul

    private let workspace: AlignedBuffer<Float>
    private let stream: Matrix
    private let normed: Matrix
    private let projected: Matrix
    private let mixed: Matrix
    private let hidden: Matrix
    private let statistics: Matrix
    /// What the head multiplies of each prompt.
    private let lastRows: Matrix
    private let logits: Matrix
    /// Of each member of the team.
    private let scores: [Matrix]

    /// Rows of a piece of a prompt.
    public static let promptRows = 128

    /// Bytes of the keys and values, of the workspace and of weights in bf16, as allocated.
    public var arenaBytes: (cache: Int, workspace: Int, halves: Int) {
        (cache.bytes, workspace.bytes, halves.bytes)
    }

    /// What about a model does not let it generate; nil when it can.
    public static func obstacle(_ config: ModelConfig) -> String? {
        if config.family != .decoder {
            return "is of model.family \(config.family.rawValue), which predicts masked tokens, not the next "
                + "one; generation needs family decoder"
        }
        let keys = [
            (config.embeddingNorm, "embedding_norm"), (config.headTransform, "head_transform"),
            (config.tokenTypes > 0, "token_types"),
        ]
        return keys.first(where: \.0).map { "has model.\($1), which generation does not know" }
    }

    /// - Parameters:
    ///   - network: whose parameters it reads, which outlives it, and to which there is no `obstacle`.
    ///   - capacity: at most the context length.
    ///   - rounds: whether steps read weights that are rounded to bf16, half as many bytes.
    /// - Throws: `AllocationError`.
    public init(_ network: LanguageModel, sequences: Int, capacity: Int, rounds: Bool = false) throws {
        let config = network.config
        precondition(Self.obstacle(config) == nil, "a model that cannot generate")
        precondition(
            sequences >= 1 && (1...config.contextLength).contains(capacity),
            "\(sequences) sequences of \(capacity) positions")
        self.config = config
        self.sequences = sequences
        self.capacity = capacity
        team = network.team
        matmul = MatMul(backend: OpenBLAS(), team: team)
        cache = try KeyValueCache(config: config, sequences: sequences, capacity: capacity)
        halves = try AlignedBuffer(count: rounds ? network.layout.count : 0)
        for index in 0..<halves.count { halves.base[index] = BFloat16(network.parameters.base[index]) }
        let parameters = NamedParameters(network, halves: rounds ? halves.vector : nil)
        blocks = (0..<config.numLayers).map { CachedBlock("layers.\($0)", parameters) }
        embedding = parameters.matrix("token_embedding.weight")
        finalNorm = config.finalNorm ? CachedNorm("final_norm", parameters) : nil
        head = parameters.weight(config.tieEmbeddings ? "token_embedding.weight" : "head.weight")

        let (h, rows) = (config.dModel, max(sequences, min(sequences * capacity, Self.promptRows)))
        let blockRows = min(capacity, Self.promptRows)
        var plan = ArenaPlan()
        let widths = [h, h, h + 2 * config.keyWidth, h, (config.gated ? 2 : 1) * config.dFF]
        let slots = widths.map { plan.reserve("rows", rows: rows, columns: $0) }
        let statisticsSlot = plan.reserve("statistics", rows: 2, columns: rows)
        let lastSlot = plan.reserve("last", rows: sequences, columns: h)
        let logitSlot = plan.reserve("logits", rows: sequences, columns: config.vocabSize)
        let scoreSlots = (0..<team.count).map { _ in
            plan.reserve("scores", rows: blockRows, columns: capacity)
        }
        let table = PositionTable(config, workspace: &plan)
        workspace = try AlignedBuffer(count: plan.count)
        let arena = workspace.vector
        func view(_ slot: Slot) -> Matrix {
            arena.slice(slot.offset..<slot.offset + slot.count).matrix(rows: slot.rows, columns: slot.columns)
        }
        (stream, normed, projected) = (view(slots[0]), view(slots[1]), view(slots[2]))
        (mixed, hidden) = (view(slots[3]), view(slots[4]))
        statistics = view(statisticsSlot)
        lastRows = view(lastSlot)
        logits = view(logitSlot)
        scores = scoreSlots.map(view)
        table?.fill(in: arena)
        positions = table.map { view($0.slot) } ?? parameters.matrix("position_embedding.weight")
    }

    /// Tokens that `sequence` has behind it.
    public func length(of sequence: Int) -> Int { cache.lengths[sequence] }

    /// `sequence` begins anew.
    public func clear(_ sequence: Int) { cache.clear(sequence) }

    /// Sequence i goes on from where sequence `parents[i]` stands.
    public func follow(_ parents: [Int]) { cache.follow(parents) }

    /// Puts `tokens` behind those of `sequence`, all within the capacity. Returns the logits `[V]` of the token that
    /// follows; valid until the next call.
    public func append(_ tokens: [Int32], to sequence: Int) -> Vector { append([(tokens, sequence)]).vector }

    /// Puts tokens, one at least, behind those of some sequences. Returns the logits `[n, V]` of the tokens that follow;
    /// valid until the next call.
    public func append(_ prompts: [(tokens: [Int32], sequence: Int)]) -> Matrix {
        precondition((1...sequences).contains(prompts.count), "\(prompts.count) prompts")
        let rows = prompts.flatMap { tokens, sequence in
            let start = length(of: sequence)
            precondition(!tokens.isEmpty && start + tokens.count <= capacity, "more than fits")
            return tokens.enumerated().map { Row(token: $1, sequence: sequence, position: start + $0) }
        }
        var complete = 0
        for first in stride(from: 0, to: rows.count, by: Self.promptRows) {
            let end = min(first + Self.promptRows, rows.count)
            let piece = Array(rows[first..<end])
            let segments = Self.segments(piece)
            forward(piece) { layer in
                for segment in segments { attendInBlock(layer, piece[segment.lowerBound], segment) }
            }
            for segment in segments {
                let last = segment.upperBound - 1
                cache.advance(piece[last].sequence, by: segment.count)
                guard
                    first + segment.upperBound == rows.count
                        || rows[first + last + 1].sequence != piece[last].sequence
                else { continue }
                lastRows.rows(complete..<complete + 1).vector.base
                    .update(from: behindBlocks.rows(last..<last + 1).vector.base, count: config.dModel)
                complete += 1
            }
        }
        let output = logits.rows(0..<prompts.count)
        multiply(lastRows.rows(0..<prompts.count), head, nil, into: output)
        return output
    }

    /// Rows of one sequence each that follow one another.
    private static func segments(_ rows: [Row]) -> [Range<Int>] {
        var segments: [Range<Int>] = []
        for (index, row) in rows.enumerated() {
            if let last = segments.last, rows[last.lowerBound].sequence == row.sequence {
                segments[segments.count - 1] = last.lowerBound..<index + 1
            } else {
                segments.append(index..<index + 1)
            }
        }
        return segments
    }

    /// Puts a token behind each of some sequences. Returns the logits `[n, V]` of the tokens that follow; valid until the
    /// next call.
    public func step(_ tokens: [(token: Int32, sequence: Int)]) -> Matrix {
        precondition(!tokens.isEmpty && tokens.count <= sequences, "a token for each of some sequences")
        let rows = tokens.map { token, sequence -> Row in
            precondition(length(of: sequence) < capacity, "sequence \(sequence) is full")
            return Row(token: token, sequence: sequence, position: length(of: sequence))
        }
        forward(rows) { layer in attendRowByRow(layer, rows) }
        for row in rows { cache.advance(row.sequence, by: 1) }
        let output = logits.rows(0..<rows.count)
        multiply(behindBlocks.rows(0..<rows.count), head, nil, into: output)
        return output
    }

    /// A token on its way through the layers.
    private struct Row {
        let token: Int32
        let sequence: Int
        let position: Int
    }

    /// What the head multiplies.
    private var behindBlocks: Matrix { finalNorm == nil ? stream : normed }

    /// From the tokens to the head's input, in `behindBlocks`. `attend(layer)` makes `mixed` of what `projected` has.
    private func forward(_ tokens: [Row], attend: (Int) -> Void) {
        let rows = 0..<tokens.count
        let (x, y, hidden) = (stream.rows(rows), normed.rows(rows), hidden.rows(rows))
        for (index, row) in tokens.enumerated() { embed(row, into: x.rows(index..<index + 1)) }
        for (layer, block) in blocks.enumerated() {
            branch(x, y, block.attentionNorm) { input in
                multiply(input, block.qkv.weight, block.qkv.bias, into: projected.rows(rows))
                for (index, row) in tokens.enumerated() { remember(row, index, layer) }
                attend(layer)
                multiply(mixed.rows(rows), block.output.weight, block.output.bias, into: y)
            }
            branch(x, y, block.mlpNorm) { input in
                multiply(input, block.up.weight, block.up.bias, into: hidden)
                let active = hidden.columns(0..<config.dFF)
                let activation = Activation(config.activation)
                if config.gated {
                    activation.gatedForward(
                        gate: active, up: hidden.columns(config.dFF..<2 * config.dFF), into: active, on: team)
                } else {
                    activation.forward(active, into: active, on: team)
                }
                multiply(active, block.down.weight, block.down.bias, into: y)
            }
        }
        finalNorm?.forward(x, into: y, statistics: statistics, on: team)
    }

    /// Adds to the stream `x` what `layer` makes, in `update`, of its input; `norm` is before it or behind the sum.
    private func branch(_ x: Matrix, _ update: Matrix, _ norm: CachedNorm, _ layer: (Matrix) -> Void) {
        switch config.norm {
        case .pre:
            norm.forward(x, into: update, statistics: statistics, on: team)
            layer(update)
            Residual.add(x, update, into: x, on: team)
        case .post:
            layer(x)
            Residual.add(x, update, into: x, on: team)
            norm.forward(x, into: x, statistics: statistics, on: team)
        }
    }

    private func multiply(_ x: Matrix, _ weight: CachedWeight, _ bias: Vector?, into y: Matrix) {
        if x.rows > FewRows.mostRows {
            matmul.forward(x, weight: weight.matrix, bias: bias, into: y)
        } else if let half = weight.half {
            FewRows.forward(x, weight: half, bias: bias, into: y, on: team)
        } else {
            FewRows.forward(x, weight: weight.matrix, bias: bias, into: y, on: team)
        }
    }

    private func embed(_ row: Row, into x: Matrix) {
        let isAdded = config.positions != .rotary
        withUnsafePointer(to: row.token) { token in
            Embedding.forward(
                tokens: token, sequences: 1, tokenWeight: embedding,
                scale: config.scaleEmbeddings ? Float(config.dModel).squareRoot() : 1,
                positionWeight: isAdded ? positions.rows(row.position..<row.position + 1) : nil, into: x)
        }
    }

    /// Turns query and key of row `index` of `projected` where positions are rotary, and keeps the key and value.
    private func remember(_ row: Row, _ index: Int, _ layer: Int) {
        let (h, c) = (config.dModel, config.keyWidth)
        let all = projected.rows(index..<index + 1)
        if config.positions == .rotary {
            Rotary.rotate(
                all.columns(0..<h + c), table: positions.rows(row.position..<row.position + 1), length: 1,
                inverse: false)
        }
        cache.put(
            layer, row.sequence, position: row.position, keys: all.vector.slice(h..<h + c),
            values: all.vector.slice(h + c..<h + 2 * c))
    }

    // MARK: Attention, d = width of a head

    private var headWidth: Int { config.dModel / config.numHeads }
    /// Query heads that share one of keys and values.
    private var group: Int { config.numHeads / config.numKVHeads }
    private var scale: Float { 1 / Float(headWidth).squareRoot() }

    /// One row of each of some sequences.
    private func attendRowByRow(_ layer: Int, _ rows: [Row]) {
        team.split(rows.count * config.numHeads, (self, layer, rows)) { operands, indices, member in
            let (decoder, layer, rows) = operands
            let width = decoder.headWidth
            for index in indices {
                let (number, head) = index.quotientAndRemainder(dividingBy: decoder.config.numHeads)
                let row = rows[number]
                let columns = head * width..<(head + 1) * width
                CachedAttention.forward(
                    query: decoder.projected.rows(number..<number + 1).vector.slice(columns),
                    keys: decoder.cache.keys(layer, row.sequence, head / decoder.group),
                    values: decoder.cache.values(layer, row.sequence, head / decoder.group),
                    count: row.position + 1,
                    scale: decoder.scale, scores: decoder.scores[member].rows(0..<1).vector,
                    into: decoder.mixed.rows(number..<number + 1).vector.slice(columns))
            }
        }
    }

    /// Rows `rows` of one sequence, of which `first` is the first.
    private func attendInBlock(_ layer: Int, _ first: Row, _ rows: Range<Int>) {
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

extension ModelConfig {
    /// Width of all heads of keys, or of values, together.
    var keyWidth: Int { dModel / numHeads * numKVHeads }
}
