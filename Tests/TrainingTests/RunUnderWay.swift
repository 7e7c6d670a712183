import Foundation
import Ledger
import Synchronization
import TestSupport
import Testing

/// A run that trains in the background until something ends it.
final class RunUnderWay: Sendable {
    private let path: String
    private let result = Mutex<Result<CommandResult, any Error>?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    /// Starts it and waits until every rank has taken `step` steps.
    convenience init(
        _ experiment: Experiment, _ name: String, ranks: Int, atStep step: Int = 5,
        environment: [String: String] = [:], _ settings: String...
    ) throws {
        try self.init(
            experiment, name, ranks: ranks, environment: environment, until: { $0.step > step }, settings)
    }

    /// Starts it and waits until `isThere` holds for every rank.
    init(
        _ experiment: Experiment, _ name: String, ranks: Int, environment: [String: String] = [:],
        until isThere: (HeartbeatRecord) -> Bool, _ settings: [String]
    ) throws {
        let arguments = try experiment.arguments(name, ["train.steps=1000000"] + settings)
        path = experiment.run(name).path
        Thread.detachNewThread { [self] in
            let outcome = Result {
                try mpirun(
                    ranks: ranks, program: "lockstep", arguments: arguments, environment: environment,
                    timeout: 120)
            }
            result.withLock { $0 = outcome }
            ended.signal()
        }
        while !(0..<ranks).allSatisfy({ Self.record(path, $0).map(isThere) ?? false }) {
            guard result.withLock({ $0 == nil }) else { break }
            usleep(1000)
        }
    }

    /// What the rank is doing.
    func heartbeat(_ rank: Int) throws -> HeartbeatRecord {
        try #require(Self.record(path, rank), "rank \(rank) has no heartbeat")
    }

    func send(_ signal: Int32, to rank: Int) throws { kill(try heartbeat(rank).process, signal) }

    /// Whether a process exists and has not ended, waiting to be asked for its code.
    static func isAlive(_ process: Int32) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else {
            return false
        }
        return !text[text.lastIndex(of: ")")!...].hasPrefix(") Z")
    }

    /// Whether all of `processes` have ended, after ten seconds at most.
    static func haveEnded(_ processes: [Int32]) -> Bool {
        for _ in 0..<200 where processes.contains(where: isAlive) { usleep(50_000) }
        return !processes.contains(where: isAlive)
    }

    /// The process number of mpirun: the parent of its ranks.
    func launcher() throws -> Int32 {
        let text = try String(contentsOfFile: "/proc/\(heartbeat(0).process)/stat", encoding: .utf8)
        let fields = text[text.lastIndex(of: ")")!...].split(separator: " ")
        return Int32(fields[2])!
    }

    /// Waits for the end.
    func finish() throws -> CommandResult {
        ended.wait()
        ended.signal()
        return try result.withLock { $0! }.get()
    }

    private static func record(_ path: String, _ rank: Int) -> HeartbeatRecord? {
        HeartbeatRecord(path: "\(path)/log/heartbeat-\(rank)")
    }
}
