import Configs
import Foundation
import Ledger
import TestSupport
import Testing
import Training

/// Runs in which nothing moves any more.
@Suite(.serialized) struct HangTests {
    @Test(arguments: [0, 1, 2]) func aStoppedRankIsNamedAndAllGo(stopped: Int) throws {
        let experiment = try Experiment()
        let run = try RunUnderWay(experiment, "run", ranks: 3, "parallel.hang_timeout=2")
        let processes = try (0..<3).map { try run.heartbeat($0).process }
        try run.send(SIGSTOP, to: stopped)
        let result = try run.finish()
        #expect(result.exitCode == Configs.ExitStatus.hang.rawValue, "\(result.standardError)")
        let errors = result.standardError.components(separatedBy: "lockstep: error: ")
        #expect(errors.count == 2, "\(result.standardError)")
        #expect(errors.last?.hasPrefix("rank \(stopped) on ") == true, "\(result.standardError)")
        #expect(RunUnderWay.haveEnded(processes), "a rank is left")
        let directory = try experiment.directory("run")
        let status = try RunStatus.read(from: directory.status)
        #expect(status.state == .failed && status.exitCode == Configs.ExitStatus.hang.rawValue)
        #expect(status.message?.hasPrefix("rank \(stopped) on ") == true)
        let log = try String(contentsOfFile: directory.log(rank: stopped == 0 ? 1 : 0), encoding: .utf8)
        for rank in 0..<3 { #expect(log.contains(" rank \(rank) on "), "\(log)") }
    }

    @Test func aRankInAnEndlessLoopIsNamed() throws {
        let experiment = try Experiment()
        let result = try mpirun(
            ranks: 3, program: "rank-programs", arguments: ["endless-loop", "\(experiment.folder)/run"])
        #expect(result.exitCode == Configs.ExitStatus.hang.rawValue, "\(result.standardError)")
        #expect(result.standardError.contains("rank 1 on here is in forward of step 7"))
        #expect(result.standardError.contains("rank 0 on here and 1 more are in wait of step 7"))
    }

    /// No rank outlives mpirun.
    @Test(arguments: [SIGKILL, SIGSEGV]) func ranksGoWithTheirLauncher(signal: Int32) throws {
        let experiment = try Experiment()
        let run = try RunUnderWay(experiment, "run", ranks: 3)
        let processes = try (0..<3).map { try run.heartbeat($0).process }
        kill(try run.launcher(), signal)
        _ = try run.finish()
        #expect(RunUnderWay.haveEnded(processes), "a rank has outlived mpirun")
    }

    private func detector(
        timeout: Double = 20, seconds: Int, _ records: (Int) -> [HeartbeatRecord?]
    ) -> Hang? {
        var detector = HangDetector(rank: 0, ranks: records(0).count, timeout: timeout)
        for second in 0..<seconds {
            detector.pass(1)
            let now = records(second)
            detector.see(0, now[0])
            guard detector.isSuspicious else { continue }
            for rank in 1..<now.count { detector.see(rank, now[rank]) }
            if let hang = detector.hang { return hang }
        }
        return nil
    }

    @Test func whoeverIsBehindIsToBlame() throws {
        let waiting = { HeartbeatRecord(activity: .wait, step: 3, sequence: 12, alive: $0) }
        let hang = detector(seconds: 30) { second in
            [
                waiting(second), HeartbeatRecord(activity: .backward, step: 3, sequence: 9, alive: second),
                waiting(second),
            ]
        }
        #expect(hang?.kind == .behind([1]) && hang?.speaker == 0)
        #expect(hang?.description.hasPrefix("rank 1 on host is in backward of step 3") == true)
        let together = detector(seconds: 30) { second in [waiting(second), waiting(second)] }
        #expect(together?.kind == .together)
    }

    @Test func aProcessThatDoesNotRunIsToBlame() {
        let hang = detector(seconds: 30) { second in
            [
                HeartbeatRecord(activity: .wait, sequence: 9, alive: second),
                HeartbeatRecord(activity: .wait, sequence: 9, alive: 4),
                HeartbeatRecord(activity: .forward, sequence: 8, alive: second), nil,
            ]
        }
        #expect(hang?.kind == .stopped([1]) && hang?.speaker == 0)
    }

    @Test func noHangWhileAnyoneGetsOn() {
        let waiting = { HeartbeatRecord(activity: .checkpoint, sequence: 9, alive: $0) }
        #expect(
            detector(seconds: 200) {
                [waiting($0), .init(activity: .checkpoint, sequence: 9, signs: $0 / 5)]
            } == nil)
        #expect(detector(seconds: 200) { [.init(activity: .data, sequence: $0 / 15), waiting($0)] } == nil)
        #expect(detector(seconds: 19) { [waiting($0), waiting($0)] } == nil)
    }

    /// A job that was suspended and goes on sees a gap in its own time, not in the others' work.
    @Test func timeInWhichTheProcessDidNotRunDoesNotCount() {
        var detector = HangDetector(rank: 0, ranks: 1, timeout: 20)
        detector.see(0, HeartbeatRecord(activity: .wait))
        detector.pass(1000)
        #expect(!detector.isSuspicious && detector.hang == nil)
    }
}
