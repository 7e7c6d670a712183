import Configs
import Kernels

/// A decoder that generates: it keeps the keys and values of the tokens behind it, so that a token more costs one row of
/// every product. A prompt goes through in pieces of some hundred rows; new tokens go through together, a row of each
/// sequence. Every piece and every step reads each weight once.
///
/// Shapes: n rows of tokens, h `dModel`, f `dFF`, V vocabulary.
public final class CachedDecoder {
    public let config: ModelConfig
    /// Sequences side by side.
    public let sequences: Int
    /// Positions of a sequence, prompt included.
    public let capacity: Int
    /// Tokens that are proposed with weights in 8 bits, at most, before a pass checks them all; 0 without such weights.
    public let drafts: Int

    var cache: KeyValueCache
    /// Of the sources that an encoder–decoder looks at; without room in other families.
    var sourceCache: KeyValueCache
    /// Holds the parameters.
    private let network: LanguageModel
    let stack: CachedStack
    /// Of an encoder–decoder.
    let encoder: CachedStack?
    private let head: CachedWeight
    /// The parameters in bf16, in the order of the layout; empty where steps read fp32.
    private let halves: AlignedBuffer<BFloat16>
    private let draftWeights: DraftWeights
    /// Whether products read the weights in 8 bits.
    var isDrafting = false
    let team: ThreadTeam
    let matmul: MatMul

    private let workspace: AlignedBuffer<Float>
    let stream: Matrix
    private let normed: Matrix
    let projected: Matrix
    let mixed: Matrix
    private let hidden: Matrix
    private let statistics: Matrix
    /// What the head multiplies of each prompt.
    private let lastRows: Matrix
    private let logits: Matrix
    /// Of each member of the team.
    let scores: [Matrix]

    /// Rows of a piece of a prompt.
    public static let promptRows = 128

    /// The most `drafts`: their check has fewer rows than a piece of a prompt.
    public static let mostDrafts = 64

    /// Bytes of the keys and values, of the workspace and of weights in bf16 and in 8 bits, as allocated.
    public var arenaBytes: (cache: Int, workspace: Int, halves: Int, drafts: Int) {
        (cache.bytes + sourceCache.bytes, workspace.bytes, halves.bytes, draftWeights.bytes)
    }

    /// What about a model does not let it generate; nil when it can.
    public static func obstacle(_ config: ModelConfig) -> String? {
        if config.family == .encoder {
            return "is of model.family \(config.family.rawValue), which predicts masked tokens, not the next "
                + "one; generation needs family decoder or encoder-decoder"
        }
        let keys = [
            (config.embeddingNorm, "embedding_norm"), (config.headTransform, "head_transform"),
            (config.tokenTypes > 0, "token_types"),
        ]
        return keys.first(where: \.0).map { "has model.\($1), which generation does not know" }
    }

    /// - Parameters:
    ///   - network: whose parameters it reads, and to which there is no `obstacle`.
    ///   - capacity: at most the context length.
    ///   - rounds: whether products read weights that are rounded to bf16, half as many bytes.
    ///   - drafts: tokens to propose at once (`SpeculativeDrafts`), at most `mostDrafts`; of one sequence only.
    /// - Throws: `AllocationError`.
    public init(
        _ network: LanguageModel, sequences: Int, capacity: Int, rounds: Bool = false, drafts: Int = 0
    ) throws {
        let config = network.config
        precondition(Self.obstacle(config) == nil, "a model that cannot generate")
        precondition(
            sequences >= 1 && (1...config.contextLength).contains(capacity),
            "\(sequences) sequences of \(capacity) positions")
        precondition(
            drafts == 0 || (1...Self.mostDrafts).contains(drafts) && sequences == 1,
            "\(drafts) drafts of \(sequences) sequences")
        self.config = config
        self.drafts = drafts
        self.sequences = sequences
        self.capacity = capacity
        team = network.team
        matmul = MatMul(backend: OpenBLAS(), team: team)
        self.network = network
        cache = try KeyValueCache(config: config, sequences: sequences, capacity: capacity)
        sourceCache = try KeyValueCache(config: config, sequences: sequences, capacity: config.sourceLength)
        halves = try AlignedBuffer(count: rounds ? network.layout.count : 0)
        let (target, source) = (halves.base, network.parameters.base)
        for index in 0..<halves.count { target[index] = BFloat16(source[index]) }
        draftWeights = try DraftWeights(network, isNeeded: drafts > 0)
        let parameters = NamedParameters(
            network, halves: rounds ? halves.vector : nil, drafts: draftWeights.matrices)
        let h = config.dModel
        let rows = max(
            sequences, min(sequences * capacity, Self.promptRows),
            min(sequences * config.sourceLength, Self.sourceRows(config)))
        let blockRows = min(capacity, Self.promptRows)
        var plan = ArenaPlan()
        let widths = [h, h, h + 2 * config.keyWidth, h, (config.gated ? 2 : 1) * config.dFF]
        let slots = widths.map { plan.reserve("rows", rows: rows, columns: $0) }
        let statisticsSlot = plan.reserve("statistics", rows: 2, columns: rows)
        let lastSlot = plan.reserve("last", rows: sequences, columns: h)
        let logitSlot = plan.reserve("logits", rows: sequences + drafts, columns: config.vocabSize)
        let scoreSlots = (0..<team.count).map { _ in
            plan.reserve("scores", rows: blockRows, columns: max(capacity, config.sourceLength))
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
        let positions = table.map { view($0.slot) }
        let isPair = config.family == .encoderDecoder
        stack = CachedStack(
            isPair ? "decoder." : "", layers: config.numLayers, looksAtSource: isPair, table: positions,
            parameters)
        encoder =
            isPair
            ? CachedStack(
                "encoder.", layers: config.encoderLayers, looksAtSource: false, table: positions, parameters)
            : nil
        head = config.tieEmbeddings ? stack.embedding : parameters.weight("head.weight")
    }

    /// Rows of a piece of sources.
    static func sourceRows(_ config: ModelConfig) -> Int { max(promptRows, config.sourceLength) }

    /// Tokens that `sequence` has behind it.
    public func length(of sequence: Int) -> Int { cache.lengths[sequence] }

    /// `sequence` begins anew.
    public func clear(_ sequence: Int) { cache.clear(sequence) }

    /// Sequence i goes on from where sequence `parents[i]` stands.
    public func follow(_ parents: [Int]) {
        cache.follow(parents)
        sourceCache.follow(parents)
    }

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
            forward(piece, through: stack) { layer in
                remember(layer, piece, segments)
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
                    .update(from: output(of: stack).rows(last..<last + 1).vector.base, count: config.dModel)
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
        return step(rows, rows.indices.map { $0..<$0 + 1 })
    }

    /// - Parameter segments: rows of one sequence each.
    func step(_ rows: [Row], _ segments: [Range<Int>]) -> Matrix {
        forward(rows, through: stack) { layer in
            remember(layer, rows, segments)
            attendRowByRow(layer, rows, toSource: false)
        }
        for row in rows { cache.advance(row.sequence, by: 1) }
        let output = logits.rows(0..<rows.count)
        multiply(self.output(of: stack).rows(0..<rows.count), head, nil, into: output)
        return output
    }

    /// A token on its way through the layers.
    struct Row {
        let token: Int32
        let sequence: Int
        let position: Int
    }

    /// What comes out of `stack`.
    func output(of stack: CachedStack) -> Matrix { stack.finalNorm == nil ? stream : normed }

    /// From the tokens to `output(of: stack)`. `attend(layer)` makes `mixed` of what `projected` and the cache have.
    func forward(_ tokens: [Row], through stack: CachedStack, attend: (Int) -> Void) {
        let rows = 0..<tokens.count
        let (x, y, hidden) = (stream.rows(rows), normed.rows(rows), hidden.rows(rows))
        for (index, row) in tokens.enumerated() { embed(row, stack, into: x.rows(index..<index + 1)) }
        for (layer, block) in stack.blocks.enumerated() {
            branch(x, y, block.attentionNorm) { input in
                multiply(input, block.qkv.weight, block.qkv.bias, into: projected.rows(rows))
                attend(layer)
                multiply(mixed.rows(rows), block.output.weight, block.output.bias, into: y)
            }
            if let crossAttention = block.crossAttention {
                branch(x, y, crossAttention.norm) { input in
                    let query = projected.rows(rows).columns(0..<config.dModel)
                    multiply(input, crossAttention.query.weight, crossAttention.query.bias, into: query)
                    attendRowByRow(layer, tokens, toSource: true)
                    multiply(
                        mixed.rows(rows), crossAttention.output.weight, crossAttention.output.bias, into: y)
                }
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
        stack.finalNorm?.forward(x, into: y, statistics: statistics, on: team)
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

    func multiply(_ x: Matrix, _ weight: CachedWeight, _ bias: Vector?, into y: Matrix) {
        if isDrafting, let draft = weight.draft {
            FewRows.forward(x, weight: draft, bias: bias, into: y, on: team)
        } else if let half = weight.half {
            FewRows.forward(x, weight: half, bias: bias, into: y, on: team)
        } else {
            FewRows.forward(x, weight: weight.matrix, bias: bias, into: y, on: team)
        }
    }

    private func embed(_ row: Row, _ stack: CachedStack, into x: Matrix) {
        let isAdded = config.positions != .rotary
        withUnsafePointer(to: row.token) { token in
            Embedding.forward(
                tokens: token, sequences: 1, tokenWeight: stack.embedding.matrix,
                scale: config.scaleEmbeddings ? Float(config.dModel).squareRoot() : 1,
                positionWeight: isAdded ? stack.positions.rows(row.position..<row.position + 1) : nil, into: x
            )
        }
    }
}

extension ModelConfig {
    /// Width of all heads of keys, or of values, together.
    var keyWidth: Int { dModel / numHeads * numKVHeads }
}
