import Foundation
import TestSupport
import Testing

/// How a job ends when something goes wrong.
@Suite(.serialized) struct FailureTests {
    @Test(arguments: ["one-rank-throws", "one-rank-throws-in-group"], 2...4)
    func throwingRankEndsTheJob(program: String, ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: [program])
        #expect(result.exitCode == 71)
        #expect(result.seconds < 10)
        #expect(result.standardError.contains("rank \(ranks - 1): lost my way\n"))
    }

    @Test func throwingWorldOfOneLeavesQuietly() throws {
        let result = try run(builtProduct("rank-programs"), ["one-rank-throws"])
        #expect(result.exitCode == 71)
        #expect(result.standardError == "lost my way\n")
    }

    /// Nothing that would outlive a process which is killed, or that others would have to share.
    @Test func aProcessThatWasStartedAloneHasNoDaemonAndNoSession() throws {
        let folder = NSTemporaryDirectory() + "lockstep-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let result = try run(
            builtProduct("rank-programs"), ["alone"], environment: ["TMPDIR": folder])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    @Test(arguments: 1...4) func collectiveFailureHasOneVoice(ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: ["collective-failure"])
        let speaker = min(1, ranks - 1)
        #expect(result.exitCode == 90 + Int32(speaker))
        #expect(result.standardError.contains("says rank \(speaker)\n"))
        #expect(result.standardError.components(separatedBy: "says rank").count == 2, "one rank speaks")
        #expect(!result.standardError.contains("MPI_ABORT"), "finalized, not aborted")
    }

    @Test(arguments: 2...4) func failureOfAGroupEndsTheJob(ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: ["group-failure"])
        #expect(result.exitCode == 74)
        #expect(result.seconds < 10)
        #expect(result.standardError.contains("rank 1: says rank 1\n"))
        #expect(result.standardError.components(separatedBy: "says rank").count == 2, "one rank speaks")
    }

    @Test func abandonedRequestDoesNotHideTheError() throws {
        let result = try mpirun(ranks: 2, program: "rank-programs", arguments: ["abandoned-request"])
        #expect(result.exitCode == 72)
        #expect(result.standardError.contains("gave up"))
    }

    @Test func droppedRequestIsAProgrammersMistake() throws {
        let result = try run(
            builtProduct("rank-programs"), ["dropped-request"], environment: ["SWIFT_BACKTRACE": "enable=no"])
        #expect(result.exitCode > 128)
        #expect(result.standardError.contains("MPI_Irecv was dropped before it was complete"))
    }
}

/// Processes that were started as several and find themselves alone.
@Suite(.serialized) struct LauncherTests {
    @Test(arguments: ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
    func foreignLauncherIsExplained(variable: String) throws {
        let result = try run(builtProduct("rank-programs"), ["barrier"], environment: [variable: "2"])
        #expect(result.exitCode == 70)
        #expect(result.standardError.contains("started as one of 2 (\(variable)=2)"))
        #expect(result.standardError.contains("mpirun"))
        #expect(result.standardError.split(separator: "\n").count == 1)
    }

    @Test func foreignLauncherIsExplainedByOneProcess() throws {
        let result = try run(
            builtProduct("rank-programs"), ["barrier"], environment: ["PMI_SIZE": "2", "PMI_RANK": "1"])
        #expect(result.exitCode == 70)
        #expect(result.standardError.isEmpty)
    }

    @Test(arguments: [
        // A batch script that starts one process.
        ["SLURM_NTASKS": "4", "SLURM_JOB_ID": "17", "SLURM_PROCID": "0"],
        // `mpirun -n 1` in an allocation of two hosts.
        ["OMPI_COMM_WORLD_SIZE": "1", "SLURM_STEP_NUM_TASKS": "2"],
        ["PMI_SIZE": "1"],
    ])
    func aSingleProcessIsNoMistake(environment: [String: String]) throws {
        let result = try run(builtProduct("rank-programs"), ["barrier"], environment: environment)
        #expect(result.exitCode == 0, "\(result.standardError)")
    }
}
