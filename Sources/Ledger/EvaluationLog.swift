/// One evaluation on the validation split: a line of `evaluations.jsonl`.
public struct EvaluationRecord: Sendable, Equatable, Decodable {
    /// Optimizer steps done before it.
    public var step: Int
    /// Mean over the validation split's target tokens, in nats.
    public var validationLoss: Double?
    /// The same in bits per byte of text; nil where a token's bytes are not known.
    public var bitsPerByte: Double?
    /// Target tokens it is the mean of.
    public var tokens: Int
    /// Wall time, in seconds.
    public var seconds: Double?

    private enum CodingKeys: String, CodingKey {
        case step, tokens, seconds
        case validationLoss = "validation_loss"
        case bitsPerByte = "bits_per_byte"
    }

    public init(step: Int, validationLoss: Double?, bitsPerByte: Double?, tokens: Int, seconds: Double?) {
        self.step = step
        self.validationLoss = validationLoss
        self.bitsPerByte = bitsPerByte
        self.tokens = tokens
        self.seconds = seconds
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
        json.put(",\"tokens\":")
        json.put(tokens)
        json.put(",\"seconds\":")
        json.put(seconds ?? .nan)
        json.put("}")
    }
}
