import Configs
import Foundation
import Ledger
import Training

extension FuzzTarget {
    /// A record of a run whose other records are sound: the run is verified, and what it has behind a step is forgotten as
    /// on a resumption.
    static func record(_ format: Format, _ scratch: Scratch) throws -> Parser {
        let records: [Format] = [.estimate, .ledger, .evaluations, .checkpoints, .resumes, .speed, .memory]
        for other in records { try scratch.write(other.soundSeed(), to: "run/\(other.fileName)") }
        let run = try RunDirectory(existing: scratch.path + "/run")
        let resumed = try scratch.write(format.soundSeed(), to: "resumed/\(format.fileName)")
        let resumedRun = try RunDirectory(existing: (resumed as NSString).deletingLastPathComponent)
        return { bytes in
            try scratch.write(bytes, to: "resumed/\(format.fileName)")
            try use { try resumedRun.forget(after: 2) }
            try scratch.write(bytes, to: "run/\(format.fileName)")
            let verification = try Verification(of: run)
            _ = VerificationTable(verification).text(allRanks: true)
            _ = try JSONFile.bytes(of: verification)
        }
    }

    static func status(_ scratch: Scratch) -> Parser {
        { bytes in _ = try RunStatus.read(from: scratch.write(bytes, to: "status.json")) }
    }

    /// Another rank's heartbeat, by which a hang is judged.
    static func heartbeat(_ scratch: Scratch) throws -> Parser {
        let own = Heartbeat(path: scratch.path + "/heartbeat-0", host: "node0")
        return { bytes in
            let path = try scratch.write(bytes, to: Format.heartbeat.fileName)
            guard let record = HeartbeatRecord(path: path) else {
                throw LockstepError(.badData, "\(path): no heartbeat")
            }
            var detector = HangDetector(rank: 0, ranks: 2, timeout: 20)
            for _ in 0..<20 {
                detector.see(0, own.record)
                detector.see(1, record)
                detector.pass(2)
            }
            guard let hang = detector.hang else { throw Breach("no hang where nothing moves") }
            try checkText(hang.description)
            for line in hang.table { try checkText(line) }
        }
    }
}
