import Configs
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Synchronization

/// A thread that ends a rank which would otherwise stay for ever: when nothing moves any more, when the launcher is gone,
/// and when a job is being ended that has lost a rank. It makes no MPI call.
package final class Watchdog: Sendable {
    private let rank: Int
    private let ranks: Int
    private let run: RunDirectory
    private let heartbeat: Heartbeat
    /// Seconds without progress that make a hang; 0 never ends a run for it.
    private let timeout: Double
    /// The process that started this rank, when that is a launcher; 0 otherwise.
    private let launcher: Int32
    private let isOver = Atomic<Bool>(false)

    /// Seconds that the ranks which do not speak leave to the one which does, before their end ends the job.
    private static let courtesy = 3.0

    /// Starts the thread, which may run on the CPUs of `affinity`.
    package init(
        rank: Int, ranks: Int, run: RunDirectory, heartbeat: Heartbeat, timeout: Double,
        affinity: Affinity = .current
    ) {
        self.rank = rank
        self.ranks = ranks
        self.run = run
        self.heartbeat = heartbeat
        self.timeout = timeout
        launcher = isLaunched() ? getppid() : 0
        let thread = Thread { [self] in
            affinity.apply()
            watch()
        }
        thread.stackSize = 512 << 10
        thread.start()
    }

    /// The rank has no more to do that others wait for.
    package func stop() { isOver.store(true, ordering: .relaxed) }

    private func watch() {
        let watchesHangs = timeout > 0
        var detector = HangDetector(rank: rank, ranks: ranks, timeout: watchesHangs ? timeout : .infinity)
        var last = ContinuousClock.now
        while !isOver.load(ordering: .relaxed) {
            Thread.sleep(forTimeInterval: detector.interval)
            let now = ContinuousClock.now
            detector.pass((now - last) / .seconds(1))
            last = now
            heartbeat.liveOn()
            detector.see(rank, heartbeat.record)
            if launcher != 0, getppid() != launcher { _exit(128 + SIGTERM) }
            if StopSignals.pending == SIGTERM, hasLostNeighbour { _exit(128 + SIGTERM) }
            guard watchesHangs, detector.isSuspicious else { continue }
            heartbeat.publish()
            for other in 0..<ranks where other != rank {
                detector.see(other, HeartbeatRecord(path: run.heartbeat(rank: other)))
            }
            if let hang = detector.hang, !isOver.load(ordering: .relaxed) { leave(hang) }
        }
    }

    /// Whether a process of the run on this host is gone: launchers end the others then, which wait for it in MPI.
    private var hasLostNeighbour: Bool {
        let host = heartbeat.record.host
        return (0..<ranks).contains { other in
            guard let record = HeartbeatRecord(path: run.heartbeat(rank: other)), record.host == host else {
                return false
            }
            return hasEnded(record.process)
        }
    }

    /// Whether a process is gone, or only waits for its launcher to take notice.
    private func hasEnded(_ process: Int32) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return kill(process, 0) != 0 && errno == ESRCH }
        return text[name...].hasPrefix(") Z") || text[name...].hasPrefix(") X")
    }

    private func leave(_ hang: Hang) -> Never {
        let log = RankLog(path: run.log(rank: rank))
        log.write("hangs: \(hang.description)")
        for line in hang.table { log.write(line) }
        if hang.speaker == rank, !hasBeenTold {
            let message =
                "\(hang.description). What every rank was doing is in \(run.log(rank: rank)); start again with --resume, "
                + "or raise parallel.hang_timeout (\(Quantity.seconds(timeout))) if nothing was wrong"
            writeStatus(message)
            reportToStandardError("lockstep: error: \(message)")
        } else {
            Thread.sleep(forTimeInterval: Self.courtesy)
        }
        _exit(ExitStatus.hang.rawValue)
    }

    /// Whether another rank has ended the run for a hang: gone itself, it looks as if it were to blame.
    private var hasBeenTold: Bool {
        (try? RunStatus.read(from: run.status))?.exitCode == ExitStatus.hang.rawValue
    }

    private func writeStatus(_ message: String) {
        guard var status = try? RunStatus.read(from: run.status) else { return }
        status.state = .failed
        status.message = message
        status.exitCode = ExitStatus.hang.rawValue
        try? status.write(to: run.status)
    }
}
