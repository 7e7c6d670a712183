import Foundation

/// `log/rank-N.log` of a run: what this rank did and when, a line each. Losing it never stops training.
final class RankLog {
    private let file: FileHandle?

    init(path: String) {
        _ = FileManager.default.createFile(atPath: path, contents: nil)
        file = FileHandle(forWritingAtPath: path)
    }

    /// Appends `message` with the time in UTC.
    func write(_ message: String) {
        let line = "\(Date.now.formatted(.iso8601)) \(message)\n"
        try? file?.write(contentsOf: Data(line.utf8))
    }
}
