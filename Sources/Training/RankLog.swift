import Foundation

/// `log/rank-N.log` of a run: what this rank did and when, a line each. Losing it never stops training.
final class RankLog {
    private let file: FileHandle?

    init(path: String) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        file = descriptor < 0 ? nil : FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    /// Appends `message` with the time in UTC.
    func write(_ message: String) {
        let line = "\(Date.now.formatted(.iso8601)) \(message)\n"
        try? file?.write(contentsOf: Data(line.utf8))
    }
}
