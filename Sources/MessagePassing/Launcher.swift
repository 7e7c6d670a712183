#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The process was started as one of several, but its MPI library finds it alone.
public struct LauncherMismatch: Error, Sendable, CustomStringConvertible {
    /// The launcher's variable that says how many processes it started.
    public let variable: String
    /// What it says.
    public let processes: Int
    /// The MPI library that this program is linked with.
    public let library: String

    public var description: String {
        "this process was started as one of \(processes) (\(variable)=\(processes)), but its MPI library sees "
            + "only one: the launcher belongs to another MPI installation than the library, which is "
            + "\(library). Start the program with the mpirun of that installation (compare `mpirun --version`; "
            + "under Slurm, `mpirun` inside the allocation or `srun --mpi=pmix`), or unset \(variable) to run "
            + "a single process."
    }
}

/// This process's number among those that its launcher started, by the environment and so before MPI is; 0 for a process
/// that was started alone.
public func launchedRank() -> Int { Launcher().rank ?? 0 }

/// Whether a launcher of MPI programs started this process.
public func isLaunched() -> Bool { Launcher().processes != nil }

/// Whether no launcher of any kind started this process.
func isAlone() -> Bool { !isLaunched() && getenv("PMIX_RANK") == nil }

/// What the program that started this process said about it in the environment.
struct Launcher {
    /// The number of processes it started, with the variable that says so.
    let processes: (variable: String, count: Int)?
    /// This process's number among them.
    let rank: Int?

    /// Variables with the number of processes and with the own number; the first pair found speaks. Slurm's are those
    /// of a step (`srun`): a batch script that starts one process has tasks in its job, too, but no step.
    private static let variables = [
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"),
        ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ]

    init() {
        let found = Self.variables.lazy.compactMap { size, rank in
            Self.number(size).map { (size: (size, $0), rank: Self.number(rank)) }
        }.first
        processes = found?.size
        rank = found?.rank
    }

    private static func number(_ variable: String) -> Int? {
        getenv(variable).flatMap { Int(String(cString: $0)) }
    }
}
