import Configs
import Foundation

/// One resumption of a run, by a new process or by one that went back to a checkpoint: a line of `resumes.jsonl`.
public struct ResumeRecord: Sendable, Equatable, Decodable {
    /// Optimizer steps that the checkpoint had behind it.
    public var step: Int
    /// That the run went on with.
    public var ranks: Int
    /// The step that was not finite and made the run go back; nil when a new process resumed it.
    public var rolledBackFrom: Int?

    private enum CodingKeys: String, CodingKey {
        case step, ranks
        case rolledBackFrom = "rolled_back_from"
    }

    public init(step: Int, ranks: Int, rolledBackFrom: Int? = nil) {
        self.step = step
        self.ranks = ranks
        self.rolledBackFrom = rolledBackFrom
    }
}

/// Reads a run's `resumes.jsonl`.
public typealias ResumeReader = JSONLinesReader<ResumeRecord>

/// Appends to a run's `resumes.jsonl`.
package typealias ResumeWriter = RecordWriter<ResumeRecord>

extension ResumeRecord: LineRecord {
    package func write(to json: inout JSONCursor) {
        json.put("{\"step\":")
        json.put(step)
        json.put(",\"ranks\":")
        json.put(ranks)
        if let rolledBackFrom {
            json.put(",\"rolled_back_from\":")
            json.put(rolledBackFrom)
        }
        json.put("}")
    }
}

extension RunDirectory {
    /// Prepares the run's records for going on behind step `record.step`. Throws I/O errors.
    package func goOn(_ record: ResumeRecord) throws(LockstepError) {
        try forget(after: record.step)
        var writer = try ResumeWriter(path: resumes)
        try writer.append(record)
    }

    /// Takes everything behind step `step` out of the run's records, and what no longer holds: the run goes on from there,
    /// and every step is to appear once. Throws I/O errors; a file is then as it was.
    package func forget(after step: Int) throws(LockstepError) {
        for path in [ledger, evaluations, checkpointLog, resumes] {
            guard FileManager.default.fileExists(atPath: path) else { continue }
            try Self.keepLines(of: path, upTo: step)
        }
        for path in [verification, speed, memory] { unlink(path) }
    }

    private struct Line: Decodable { let step: Int }

    /// Lines that are no records are what a crash has left, and go, too.
    private static func keepLines(of path: String, upTo step: Int) throws(LockstepError) {
        let staged = "\(path).tmp-\(getpid())"
        unlink(staged)
        var reader = try JSONLinesReader<Line>(path: path)
        var writer = try LineFile(path: staged)
        var failure: LockstepError?
        do throws(LockstepError) {
            while let (text, isTerminated) = try reader.nextLine() {
                guard isTerminated, text.count < LineFile.longestLine,
                    let line = try? JSONDecoder().decode(Line.self, fromUntrusted: text), line.step <= step
                else { continue }
                try writer.line { json in
                    text.withUnsafeBytes { json.append($0.assumingMemoryBound(to: UInt8.self)) }
                }
            }
            try writer.flush()
        } catch { failure = error }
        guard failure == nil, rename(staged, path) == 0 else {
            let reason = systemErrorText()
            unlink(staged)
            throw failure ?? LockstepError(.inputOutput, "\(path): cannot be replaced: \(reason)")
        }
    }

    /// Steps that were taken before the run was last resumed; 0 when it never was. Throws `badData`.
    func stepsBeforeResume() throws(LockstepError) -> Int {
        guard FileManager.default.fileExists(atPath: resumes) else { return 0 }
        var reader = try ResumeReader(path: resumes)
        var step = 0
        while let record = try reader.next() { step = record.step }
        return step
    }
}
