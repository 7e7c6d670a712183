import Configs
import Foundation
import Interchange
import Ledger

/// The folder of a run's checkpoints: `step-N/` each, and `latest`, which names the newest for people and scripts.
///
/// A checkpoint appears whole or not at all: it is written under a temporary name, synced, and renamed. None is ever
/// overwritten.
package struct CheckpointStore: Sendable {
    let path: String

    package init(_ run: RunDirectory) { path = run.checkpoints }

    var latest: String { "\(path)/latest" }
    func folder(_ step: Int) -> String { "\(path)/\(Self.name(step))" }
    static func name(_ step: Int) -> String { "step-\(step)" }

    /// Steps of the checkpoints, newest first.
    package var steps: [Int] {
        entries.compactMap { name in
            guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), Self.name(step) == name else {
                return nil
            }
            return step
        }.sorted(by: >)
    }

    /// What `latest` names, if it is the name of a checkpoint.
    var latestStep: Int? {
        guard let file = try? InputFile(latest), file.size <= 64 else { return nil }
        var text = [UInt8](repeating: 0, count: file.size)
        guard (try? text.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }) != nil else { return nil }
        let name = String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return steps.first { Self.name($0) == name }
    }

    /// Where the checkpoint of step `step` grows; `mark` is unlike that of any other.
    func temporaryFolder(_ step: Int, mark: String) -> String { "\(path)/.tmp-\(Self.name(step))-\(mark)" }

    /// Puts the finished checkpoint in `temporary` in its place, and names it in `latest`; `progress` is called whenever the
    /// disk has answered.
    func publish(_ temporary: String, step: Int, progress: () -> Void) throws {
        try FileWriter.syncDirectory(temporary)
        progress()
        try FileWriter.rename(temporary, to: folder(step))
        try FileWriter.syncDirectory(path)
        progress()
        let staged = "\(path)/.tmp-latest"
        try FileWriter.write(Data((Self.name(step) + "\n").utf8), to: staged)
        progress()
        try FileWriter.rename(staged, to: latest)
        try FileWriter.syncDirectory(path)
        progress()
    }

    /// Of the files of the checkpoint of step `step`.
    func bytes(of step: Int) -> Int {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder(step))) ?? []
        return files.reduce(0) { sum, name in
            var information = stat()
            return sum + (stat("\(folder(step))/\(name)", &information) == 0 ? Int(information.st_size) : 0)
        }
    }

    /// Removes all checkpoints but the `keep` newest, those whose step `every` divides, and that of step `best`.
    func removeOld(keep: Int, every: Int, best: Int?) {
        for step in steps.dropFirst(keep)
        where step != best && (every == 0 || !step.isMultiple(of: every)) {
            // Renamed first, so that an interrupted removal leaves no half of a checkpoint.
            let doomed = temporaryFolder(step, mark: UUID().uuidString)
            if rename(folder(step), doomed) == 0 { try? FileManager.default.removeItem(atPath: doomed) }
        }
    }

    /// Removes what a run that was killed has left half-written.
    func removeLeftovers() {
        for name in entries where name.hasPrefix(".tmp-") {
            try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
        }
    }

    /// Takes the damaged checkpoints newer than step `step` out of the way of those that a resumed run will save.
    func setAside(newerThan step: Int) throws {
        for newer in steps where newer > step {
            try FileWriter.rename(
                folder(newer), to: "\(path)/damaged-\(Self.name(newer))-\(UUID().uuidString.prefix(8))")
        }
    }

    private var entries: [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }
}
