import Configs
import Foundation
import Kernels

/// This program, started again as a job of its own with a single rank, the way that runs are started.
enum ChildProcess {
    /// Runs `lockstep ARGUMENTS` with `threads` threads on as many cores and waits for it. What it writes on standard output
    /// goes to `output`.
    static func run(
        _ arguments: [String], threads: Int, output: FileHandle = .nullDevice
    ) throws {
        let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let process = Process()
        if let launcher {
            // A process that no launcher started brings a daemon of its own, and one that is not bound other memory.
            process.executableURL = launcher
            process.arguments =
                ["--quiet", "-n", "1", "--map-by", "slot:PE=\(threads)", "--bind-to", "core", program.path]
                + arguments
        } else {
            process.executableURL = program
            process.arguments = arguments
        }
        // What the launcher of this process left would make the other one a rank of this job.
        process.environment = ProcessInfo.processInfo.environment.filter { name, _ in
            !["OMPI_", "PMIX_", "PRTE_", "ORTE_"].contains { name.hasPrefix($0) }
                || name.hasPrefix("OMPI_ALLOW_RUN_AS_ROOT")
        }.merging(["OPENBLAS_NUM_THREADS": "1"]) { $1 }
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = output
        // The child inherits the CPUs that this process may use.
        let bound = Affinity.current
        Affinity.widest.apply()
        defer { bound.apply() }
        try process.run()
        let complaint = errors.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw LockstepError(
                .internalBug,
                "a rank alone could not be measured: `lockstep \(arguments.joined(separator: " "))` ended with code "
                    + "\(process.terminationStatus): \(String(decoding: complaint.suffix(400), as: UTF8.self))"
            )
        }
    }

    /// `mpirun` in the search path, if it is there.
    private static var launcher: URL? {
        let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
        let path = folders.map { "\($0)/mpirun" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        return path.map { URL(fileURLWithPath: $0) }
    }
}
