import Configs

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
    public let layers: Double
    /// Elements of the rows' streams and hidden layers, in all layers.
    public let rowElements: Double
    public let logits: Double
    /// Bytes that one pass after the other goes over.
    public let footprint: Double
    public let isStep: Bool
    public let isRounded: Bool

    /// Rows of a prompt that go through the layers together.
    static let promptRows = 128

    /// A token more for each of `sequences` sequences that have `position` behind them.
    public static func step(_ model: ModelConfig, sequences: Int, position: Int, isRounded: Bool)
        -> InferencePass
    {
        InferencePass(
            model, rows: sequences, headRows: sequences,
            pairs: Double(sequences) * Double(position + 1), isStep: true, isRounded: isRounded)
    }

    /// The passes of prompts of `lengths` tokens.
    public static func prompts(_ model: ModelConfig, lengths: [Int], isRounded: Bool) -> [InferencePass] {
        var (passes, rows, pairs, ended) = ([InferencePass](), 0, 0.0, 0)
        func pass() {
            passes.append(
                InferencePass(
                    model, rows: rows, headRows: 0, pairs: pairs, isStep: false, isRounded: isRounded))
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
                    isStep: false, isRounded: isRounded))
        }
        return passes
    }

    /// Numbers of a key and a value of every query head, in all layers.
    private static func pairWidth(_ model: ModelConfig) -> Double {
        2 * Double(model.dModel) * Double(model.numLayers)
    }

    /// - Parameter pairs: of a query and a key that it looks at, of each head.
    private init(
        _ model: ModelConfig, rows: Int, headRows: Int, pairs: Double, isStep: Bool, isRounded: Bool
    ) {
        let (h, f) = (Double(model.dModel), Double(model.dFF))
        let kv = h / Double(model.numHeads) * Double(model.numKVHeads)
        (self.rows, self.headRows, self.isStep, self.isRounded) = (rows, headRows, isStep, isRounded)
        layers = Double(model.numLayers)
        layerWeights = layers * (2 * h * h + 2 * h * kv + (model.gated ? 3 : 2) * h * f)
        headWeights = headRows > 0 ? Double(model.vocabSize) * h : 0
        attended = pairs * Self.pairWidth(model)
        rowElements = layers * Double(rows) * (h + f)
        logits = Double(headRows) * Double(model.vocabSize)
        // Query heads that share keys and values find them in the cache.
        let cached = isStep ? 4 * pairs * 2 * kv * layers : 0
        footprint = (isRounded ? 2 : 4) * (layerWeights + headWeights) + cached
    }
}
