import TestSupport
import Testing

@Suite(.serialized) struct AllocationTests {
    @Test func theCounterCounts() throws {
        let result = try mpirun(ranks: 1, program: "rank-programs", arguments: ["allocation-counter"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }

    @Test(arguments: [1, 2])
    func aSteadyStepAllocatesNothing(ranks: Int) throws {
        let result = try mpirun(ranks: ranks, program: "rank-programs", arguments: ["steady-step"])
        #expect(result.exitCode == 0, "\(result.standardError)")
        if ranks == 1 { #expect(result.standardOutput.contains("and 0 of the MPI library")) }
    }

    @Test func tileProductsAllocateNothing() throws {
        let result = try mpirun(ranks: 1, program: "rank-programs", arguments: ["steady-products"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }
}
