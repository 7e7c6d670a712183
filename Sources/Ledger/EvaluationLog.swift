import Cost

/// One evaluation on the validation split: a line of `evaluations.jsonl`.
public struct EvaluationRecord: Sendable, Equatable, Decodable {
    /// Optimizer steps done before it.
    public var step: Int
    /// Mean over the validation split's target tokens, in nats.
    public var validationLoss: Double?
    /// The same in bits per byte of text; nil where a token's bytes are not known.
    public var bitsPerByte: Double?
    /// nil unless the split has pairs.
    public var exactMatch: ExactMatch?
    /// Target tokens it is the mean of.
    public var tokens: Int
    /// Wall time, in seconds.
    public var seconds: Double?

    private enum CodingKeys: String, CodingKey {
        case step, tokens, seconds
        case validationLoss = "validation_loss"
        case bitsPerByte = "bits_per_byte"
        case exactMatch = "exact_match"
    }

    public init(
        step: Int, validationLoss: Double?, bitsPerByte: Double?, exactMatch: ExactMatch? = nil, tokens: Int,
        seconds: Double?
    ) {
        self.step = step
        self.validationLoss = validationLoss
        self.bitsPerByte = bitsPerByte
        self.exactMatch = exactMatch
        self.tokens = tokens
        self.seconds = seconds
    }
}

/// How many pairs a model answers without a fault: at every place of the target, and of the end behind it, its most likely
/// token is the right one, which is what it would write when it always took the most likely.
public struct ExactMatch: Sendable, Equatable, Codable {
    /// Pairs of the split; at least one.
    public var pairs: Int
    public var exact: Int

    public init(pairs: Int, exact: Int) {
        self.pairs = pairs
        self.exact = exact
    }

    /// Of the pairs, in [0, 1].
    public var share: Double { Double(exact) / Double(pairs) }
}

extension ExactMatch: CustomStringConvertible {
    /// `99.94 % (4,997 of 5,000 pairs)`
    public var description: String {
        "\(Figure.share(share)) (\(Quantity.grouped(exact)) of \(Quantity.grouped(pairs)) pairs)"
    }
}

/// Reads a run's `evaluations.jsonl`.
public typealias EvaluationReader = JSONLinesReader<EvaluationRecord>

/// Appends to a run's `evaluations.jsonl`.
package typealias EvaluationWriter = RecordWriter<EvaluationRecord>

extension EvaluationRecord: LineRecord {
    package func write(to json: inout JSONCursor) {
        json.put("{\"step\":")
        json.put(step)
        json.put(",\"validation_loss\":")
        json.put(validationLoss ?? .nan)
        json.put(",\"bits_per_byte\":")
        json.put(bitsPerByte ?? .nan)
        if let exactMatch {
            json.put(",\"exact_match\":{\"pairs\":")
            json.put(exactMatch.pairs)
            json.put(",\"exact\":")
            json.put(exactMatch.exact)
            json.put("}")
        }
        json.put(",\"tokens\":")
        json.put(tokens)
        json.put(",\"seconds\":")
        json.put(seconds ?? .nan)
        json.put("}")
    }
}
