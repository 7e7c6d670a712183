import Configs

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

/// Appends to a run's `checkpoints.jsonl`, on the coordinator; fails as `LedgerWriter` does.
public struct CheckpointWriter: ~Copyable {
    private var file: LineFile

    /// Opens the file for appending, creating it if need be.
    public init(path: String) throws(LockstepError) {
        file = try LineFile(path: path)
    }

    /// Writes a line at once. Throws once, when lines could not be written.
    public mutating func append(_ record: CheckpointRecord) throws(LockstepError) {
        try file.line { json in
            json.put("{\"step\":")
            json.put(record.step)
            json.put(",\"bytes\":")
            json.put(record.bytes)
            json.put(",\"seconds\":")
            json.put(record.seconds)
            json.put("}")
        }
        try file.flush()
    }
}
