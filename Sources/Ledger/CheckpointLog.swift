/// One saved checkpoint: a line of `checkpoints.jsonl`.
public struct CheckpointRecord: Sendable, Equatable, Decodable {
    /// Optimizer steps done before it.
    public var step: Int
    /// Of its files.
    public var bytes: Int
    /// Wall time of copying, writing and publishing it, in seconds.
    public var seconds: Double
    /// Of these, what training stood still for; nil where it is not known.
    public var waitedSeconds: Double?

    private enum CodingKeys: String, CodingKey {
        case step, bytes, seconds
        case waitedSeconds = "waited_seconds"
    }

    public init(step: Int, bytes: Int, seconds: Double, waitedSeconds: Double? = nil) {
        self.step = step
        self.bytes = bytes
        self.seconds = seconds
        self.waitedSeconds = waitedSeconds
    }
}

/// Reads a run's `checkpoints.jsonl`.
public typealias CheckpointReader = JSONLinesReader<CheckpointRecord>

/// Appends to a run's `checkpoints.jsonl`.
package typealias CheckpointWriter = RecordWriter<CheckpointRecord>

extension CheckpointRecord: LineRecord {
    package func write(to json: inout JSONCursor) {
        json.put("{\"step\":")
        json.put(step)
        json.put(",\"bytes\":")
        json.put(bytes)
        json.put(",\"seconds\":")
        json.put(seconds)
        json.put(",\"waited_seconds\":")
        json.put(waitedSeconds ?? .nan)
        json.put("}")
    }
}
