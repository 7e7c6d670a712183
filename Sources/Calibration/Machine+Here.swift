import CTiles
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing

extension Profile.Machine {
    /// The machine that this process runs on.
    public static func here() -> Profile.Machine {
        let facts = MachineFacts()
        return Profile.Machine(
            host: facts.host, cpu: facts.cpuModel, cores: Affinity.online, memory: facts.memoryTotal,
            privateCache: privateCacheBytes() ?? 1 << 20, mpi: mpiLibraryVersion(),
            blas: OpenBLAS.configuration, blasKernels: OpenBLAS.coreName,
            isaLevel: Int(lockstep_built_isa_level()), tileInstructions: tileInstructions())
    }

    /// Those of `LOCKSTEP_ISA`, or the best; a name that is none is refused where products are made.
    private static func tileInstructions() -> String {
        let environment = ProcessInfo.processInfo.environment
        return (try? TileSupport.here(environment: environment))?.instructions.rawValue ?? "none"
    }

    /// The largest cache that is shared by the hardware threads of one core only, as Linux describes it.
    private static func privateCacheBytes() -> Int? {
        let cpu = "/sys/devices/system/cpu/cpu0"
        func text(_ path: String) -> String? {
            (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(
                in: .whitespacesAndNewlines)
        }
        let siblings = text("\(cpu)/topology/thread_siblings_list")
        let sizes = (0..<8).compactMap { index -> Int? in
            let cache = "\(cpu)/cache/index\(index)"
            guard text("\(cache)/shared_cpu_list") == siblings, text("\(cache)/type") != "Instruction",
                let size = text("\(cache)/size"), size.hasSuffix("K")
            else { return nil }
            return Int(size.dropLast()).map { $0 << 10 }
        }
        return sizes.max()
    }
}
