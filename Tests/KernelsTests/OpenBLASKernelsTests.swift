import CTiles
import Glibc
import Kernels
import TestSupport
import Testing

@Suite(.serialized) struct OpenBLASKernelsTests {
    @Test func `kernels too old for a CPU are exchanged for those of its vectors`() {
        #expect(OpenBLASKernels.better(than: "Prescott", level: 4) == "SkylakeX")
        #expect(OpenBLASKernels.better(than: "Sandybridge", level: 3) == "Haswell")
        #expect(OpenBLASKernels.better(than: "Nehalem", level: 2) == nil)
        for chosen in ["Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids", "ARMV8", "unknown"] {
            #expect(OpenBLASKernels.better(than: chosen, level: 4) == nil)
        }
    }

    @Test func `kernels that are used fit this CPU`() {
        #expect(
            OpenBLASKernels.better(than: OpenBLAS.coreName, level: Int(lockstep_cpu_isa_level())) == nil
                || getenv("OPENBLAS_CORETYPE") != nil)
    }

    @Test func `products are right with all kernels that are exchanged`() throws {
        let result = try mpirun(ranks: 1, program: "rank-programs", arguments: ["openblas-kernels"])
        #expect(result.exitCode == 0, "\(result.standardError)")
    }
}
