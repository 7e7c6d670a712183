import TestSupport
import Testing

/// Rings, levels and sharded optimizers; every program checks its own results.
@Suite(.serialized) struct ReductionTests {
    @Test(arguments: ["bucketed-collectives", "sharded-steps"], 1...4)
    func succeeds(program: String, ranks: Int) throws {
        let result = try mpirun(
            ranks: ranks, program: "rank-programs", arguments: [program], timeout: 120)
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    @Test(arguments: 3...4) func unevenHostsAreNoHierarchy(ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: ["uneven-hosts"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }
}
