import Foundation
import TestSupport
import Testing

/// Every program checks its own results; a rank that finds one wrong ends the job with a message.
@Suite(.serialized) struct OperationTests {
    @Test(
        arguments: [
            "send-receive", "start-send-receive", "separate-messages", "barrier", "broadcast", "reduce",
            "allreduce", "allreduce-in-place", "ring-passes", "gather", "gatherv",
            "allgather", "scatter", "split", "duplicate", "environment", "payload", "chunked-messages",
            "chunked-collectives", "length-mismatch", "message-length-mismatch", "refused-by-mpi",
            "collectively",
            "collectively-in-group",
        ], 1...4)
    func succeeds(program: String, ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: [program])
        #expect(result.exitCode == 0)
        #expect(result.standardError.isEmpty)
        #expect(result.standardOutput.isEmpty)
    }

    @Test func worksWithoutLauncher() throws {
        let result = try run(builtProduct("rank-programs"), ["allreduce"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    /// Needs 10 GiB of memory and a minute.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["LOCKSTEP_LARGE_TESTS"] == "1"))
    func messagesAboveIntCount() throws {
        let result = try mpirun(
            ranks: 2, program: "rank-programs", arguments: ["above-int-count"], timeout: 300)
        #expect(result.exitCode == 0, "\(result.standardError)")
    }
}
