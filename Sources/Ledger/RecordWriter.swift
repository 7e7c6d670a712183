import Configs

/// Something that is a line of one of a run's JSON Lines files.
package protocol LineRecord {
    /// Writes the record as one JSON object.
    func write(to json: inout JSONCursor)
}

/// Appends records to a file of a run, on the coordinator; fails as `LedgerWriter` does.
package struct RecordWriter<Record: LineRecord>: ~Copyable {
    private var file: LineFile

    /// Opens the file for appending, creating it if need be.
    package init(path: String) throws(LockstepError) {
        file = try LineFile(path: path)
    }

    /// Writes a line at once. Throws once, when lines could not be written.
    package mutating func append(_ record: Record) throws(LockstepError) {
        try file.line { record.write(to: &$0) }
        try file.flush()
    }
}
