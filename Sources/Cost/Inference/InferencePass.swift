import Configs

/// What products read of a weight's number.
public enum WeightFormat: Sendable {
    case fp32, bf16, int8

    init(isRounded: Bool) { self = isRounded ? .bf16 : .fp32 }

    var bytes: Int {
        switch self {
        case .fp32: 4
        case .bf16: 2
        case .int8: 1
        }
    }
}

/// What one pass through a model that generates has to do.
public struct InferencePass: Sendable {
    /// Tokens that go through the layers, and those whose successors are asked for.
    public let rows: Int
    public let headRows: Int
    /// Numbers of the layers' and of the head's weights.
    public let layerWeights: Double
    public let headWeights: Double
    /// Of a step, numbers of keys and values that queries are multiplied by; of a prompt, multiply-adds with them.
    public let attended: Double
    /// Of both, numbers of keys and values of sources that queries are multiplied by, a row at a time.
    public let attendedOfSources: Double
    /// Of two branches each.
    public let layers: Double
    /// Elements of the rows' streams and hidden layers, in all layers.
    public let rowElements: Double
    public let logits: Double
    /// Bytes that one pass after the other goes over.
    public let footprint: Double
    public let isStep: Bool
    public let format: WeightFormat

    /// Rows of a prompt that go through the layers together, and of sources.
    static let promptRows = 128
    static func sourceRows(_ model: ModelConfig) -> Int { max(promptRows, model.sourceLength) }

    /// `tokens` more, several where drafts are checked, for each of `sequences` sequences that have `position` behind them,
    /// and look at sources of `sourceTokens` together.
    public static func step(
        _ model: ModelConfig, sequences: Int, tokens: Int = 1, position: Int, sourceTokens: Int = 0,
        format: WeightFormat = .fp32
    ) -> InferencePass {
        let rows = sequences * tokens
        return InferencePass(
            model, rows: rows, headRows: rows,
            pairs: Double(rows) * (Double(position) + Double(tokens + 1) / 2),
            sourcePairs: Double(tokens * sourceTokens), isStep: true, format: format)
    }

    /// The passes of sources of `lengths` tokens through an encoder and the decoder's maps of keys and values: as many whole
    /// ones together as have at most `sourceRows`.
    public static func sources(_ model: ModelConfig, lengths: [Int], format: WeightFormat = .fp32)
        -> [InferencePass]
    {
        var (passes, rows, pairs) = ([InferencePass](), 0, 0.0)
        for length in lengths {
            if rows + length > sourceRows(model) {
                passes.append(InferencePass(ofSources: model, rows: rows, pairs: pairs, format: format))
                (rows, pairs) = (0, 0)
            }
            rows += length
            pairs += Double(length) * Double(length)
        }
        guard rows > 0 else { return passes }
        return passes + [InferencePass(ofSources: model, rows: rows, pairs: pairs, format: format)]
    }

    /// The passes of prompts of `lengths` tokens, that look at sources of `sources` tokens.
    public static func prompts(
        _ model: ModelConfig, lengths: [Int], sources: [Int] = [], format: WeightFormat = .fp32
    ) -> [InferencePass] {
        // A row for each of them begins a target.
        let sourcePairs = Double(zip(lengths, sources).reduce(0) { $0 + $1.0 * $1.1 })
        let all = Double(max(1, lengths.reduce(0, +)))
        var (passes, rows, pairs, ended) = ([InferencePass](), 0, 0.0, 0)
        func pass() {
            passes.append(
                InferencePass(
                    model, rows: rows, headRows: 0, pairs: pairs,
                    sourcePairs: sourcePairs * Double(rows) / all,
                    isStep: false, format: format))
            (rows, pairs) = (0, 0)
        }
        for length in lengths {
            var first = 0
            while first < length {
                let count = min(length - first, promptRows - rows)
                first += count
                rows += count
                // Scores are of all keys up to the block's last one.
                pairs += Double(count) * Double(first)
                if rows == promptRows { pass() }
            }
            ended += 1
        }
        if rows > 0 { pass() }
        // The head is multiplied once, behind all pieces.
        if let last = passes.popLast() {
            passes.append(
                InferencePass(
                    model, rows: last.rows, headRows: ended, pairs: last.attended / pairWidth(model),
                    sourcePairs: last.attendedOfSources / pairWidth(model), isStep: false,
                    format: format))
        }
        return passes
    }

    /// Numbers of a key and a value of every query head, in all layers.
    private static func pairWidth(_ model: ModelConfig) -> Double {
        2 * Double(model.dModel) * Double(model.numLayers)
    }

    /// - Parameters:
    ///   - pairs: of a query and a key that it looks at, of each head.
    ///   - sourcePairs: the same of keys of a source.
    private init(
        _ model: ModelConfig, rows: Int, headRows: Int, pairs: Double, sourcePairs: Double, isStep: Bool,
        format: WeightFormat
    ) {
        let (h, f, kv) = Self.widths(model)
        (self.rows, self.headRows, self.isStep, self.format) = (rows, headRows, isStep, format)
        let isPair = model.family == .encoderDecoder
        let (count, branches) = (Double(model.numLayers), isPair ? 3.0 : 2)
        layers = count * branches / 2
        // Attention to a source has queries and an output; its keys and values are there.
        let toSource = isPair ? 2 * h * h : 0
        layerWeights = count * (2 * h * h + 2 * h * kv + (model.gated ? 3 : 2) * h * f + toSource)
        headWeights = headRows > 0 ? Double(model.vocabSize) * h : 0
        attended = pairs * Self.pairWidth(model)
        attendedOfSources = sourcePairs * Self.pairWidth(model)
        rowElements = count * Double(rows) * (h * branches / 2 + f)
        logits = Double(headRows) * Double(model.vocabSize)
        // Query heads that share keys and values find them in the cache.
        let cached = 4 * ((isStep ? pairs : 0) + sourcePairs) * 2 * kv * count
        footprint = Double(format.bytes) * (layerWeights + headWeights) + cached
    }

    private init(ofSources model: ModelConfig, rows: Int, pairs: Double, format: WeightFormat) {
        let (h, f, kv) = Self.widths(model)
        (self.rows, self.format) = (rows, format)
        (headRows, isStep, headWeights, logits, attendedOfSources) = (0, false, 0, 0, 0)
        let (count, ofDecoder) = (Double(model.encoderLayers), Double(model.numLayers))
        // What the decoder keeps of a source is a product, and no branch.
        layers = count + ofDecoder / 2
        layerWeights =
            count * (2 * h * h + 2 * h * kv + (model.gated ? 3 : 2) * h * f) + ofDecoder * 2 * h * kv
        attended = pairs * 2 * h * count
        rowElements = Double(rows) * (count * (h + f) + ofDecoder * kv)
        footprint = Double(format.bytes) * layerWeights
    }

    /// d_model, d_ff, and of all heads of keys together.
    private static func widths(_ model: ModelConfig) -> (h: Double, f: Double, kv: Double) {
        let h = Double(model.dModel)
        return (h, Double(model.dFF), h / Double(model.numHeads) * Double(model.numKVHeads))
    }
}
