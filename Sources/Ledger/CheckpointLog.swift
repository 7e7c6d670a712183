/// One saved checkpoint: a line of `checkpoints.jsonl`.
public struct CheckpointRecord: Sendable, Equatable, Decodable {
    /// Optimizer steps done before it.
    public var step: Int
    /// Of its files.
    public var bytes: Int
    /// Wall time until it was on disk, in seconds.
    public var seconds: Double

    public init(step: Int, bytes: Int, seconds: Double) {
        self.step = step
        self.bytes = bytes
        self.seconds = seconds
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
        json.put("}")
    }
}
