import ArgumentParser
import CTiles
import Configs
import Foundation
import Kernels
import Ledger
import MessagePassing

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check this machine, and say what to do about each problem.",
        discussion: """
            Looks at MPI, OpenBLAS, cores, CPU features, memory and disk. Ends with code 1 when training would fail.

            Example:
              lockstep doctor --ranks 2 --threads 1
            """)

    @Option(help: ArgumentHelp("Ranks to find room for (default: as many as fit).", valueName: "N"))
    var ranks: Int?

    @Option(help: ArgumentHelp("Threads of a rank.", valueName: "T"))
    var threads = 1

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func validate() throws {
        guard ranks ?? 1 >= 1 else { throw ValidationError("--ranks must be at least 1.") }
        guard threads >= 1 else { throw ValidationError("--threads must be at least 1.") }
    }

    func run() throws {
        let machine = MachineFacts()
        let software = MachineSoftware.found()
        let checks = MachineCheck.all(machine: machine, software: software, ranks: ranks, threads: threads)
        if json {
            let report = DoctorReport(machine: machine, software: software, checks: checks)
            _ = try StandardOutput.write(JSONFile.bytes(of: report))
        } else {
            try StandardOutput.write(MachineCheck.table(checks) + "\n" + MachineCheck.summary(checks) + "\n")
        }
        if checks.contains(where: { $0.verdict == .problem }) {
            throw ExitCode(ExitStatus.verificationFailed.rawValue)
        }
    }
}

private struct DoctorReport: Encodable {
    let schemaVersion = 1
    let machine: MachineFacts
    let software: MachineSoftware
    let checks: [MachineCheck]

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case machine, software, checks
    }
}

extension MachineSoftware {
    fileprivate static func found() -> MachineSoftware {
        let environment = ProcessInfo.processInfo.environment
        let rootVariables = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
        return MachineSoftware(
            launcher: firstLine(ofRunning: ["mpirun", "--version"]),
            mpiLibrary: mpiLibraryVersion(),
            isRoot: geteuid() == 0,
            rootIsAllowed: rootVariables.allSatisfy { !(environment[$0] ?? "").isEmpty },
            openBLAS: OpenBLAS.configuration,
            openBLASCore: OpenBLAS.coreName,
            openBLASBetterCore: OpenBLASKernels.better(
                than: OpenBLAS.coreName, level: Int(lockstep_cpu_isa_level())),
            openBLASCoreType: environment["OPENBLAS_CORETYPE"],
            openBLASThreads: environment["OPENBLAS_NUM_THREADS"],
            bf16Products: bf16Products(environment),
            bf16Cap: environment["LOCKSTEP_ISA"],
            builtISALevel: Int(lockstep_built_isa_level()),
            cpuISALevel: Int(lockstep_cpu_isa_level()),
            diskFree: freeBytes(in: ".") ?? 0,
            canWrite: access(".", W_OK) == 0,
            sharedMemoryFree: freeBytes(in: "/dev/shm"))
    }

    /// Nil when the environment names no instructions.
    private static func bf16Products(_ environment: [String: String]) -> String? {
        (try? TileSupport.here(environment: environment)).map { support in
            let high = TileMode.of(.high, with: support.instructions, environment: environment)
            let use =
                switch support.instructions {
                case _ where high.products == 1: "for precision.matmul medium; high is in fp32"
                case .amx, .avx512bf16, .avx512fma: "for precision.matmul medium and high"
                case .emulated where environment["LOCKSTEP_ISA"] == support.instructions.rawValue:
                    "slow, for tests"
                case .emulated: "precision.matmul medium and high run as highest"
                }
            return "\(support.description); \(use)"
        }
    }

    private static func freeBytes(in folder: String) -> Int? {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return nil }
        return Int(clamping: UInt64(status.f_bavail) * UInt64(status.f_frsize))
    }

    /// The first line that a program prints; nil when there is no such program or it fails.
    private static func firstLine(ofRunning command: [String]) -> String? {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = command
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { return nil }
        return text.split(separator: "\n").first.map(String.init)
    }
}
