internal import CMPI

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Runs `body` as a rank of the MPI world, a world of one when the program was started alone. Once per process, on
/// the thread that makes every MPI call.
///
/// What `body` throws decides how the job ends:
/// - a `CollectiveFailure` that every rank of the world throws together: the rank that carries the error reports
///   it, MPI is finalized and the failure thrown on. An error in a world of one is treated the same way.
/// - anything else: this rank reports it as `rank R: …` and aborts the job with the error's exit code, so that no
///   rank waits for it for ever. Nothing returns.
///
/// So the caller has nothing to print: a `CollectiveFailure` from here is reported, and leaving with its `exitCode`
/// is all that is left. A process that was started as one of several by a launcher of another MPI fails before
/// `body` with a `LauncherMismatch`, reported and thrown in the same way.
///
/// - Parameters:
///   - exitCode: the exit code that an error stands for, 1 to 127.
///   - report: shows an error's text to the user; standard error by default.
public func withMPI<R>(
    exitCode: @escaping (any Error) -> Int32, report: (String) -> Void = reportToStandardError,
    _ body: (borrowing Communicator) throws -> R
) throws -> R {
    let world = try initialize(exitCode)
    return try run(body, world, report)
}

/// Writes `message` as a line to standard error, in one piece.
public func reportToStandardError(_ message: String) {
    let line = Array((message + "\n").utf8)
    _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// How Open MPI starts in a process that has no launcher. It would start a daemon, which spins for ever when that process is
/// killed; only processes that spawn others need it. Without a daemon, processes that start at the same time would get in
/// each other's way in one folder for their sessions, of which they need none.
private let aloneSettings = [
    (name: "OMPI_MCA_ess_singleton_isolated", value: "1"),
    (name: "OMPI_MCA_orte_create_session_dirs", value: "0"),
]

private func initialize(_ exitCode: @escaping (any Error) -> Int32) throws -> Communicator {
    var initialized: Int32 = 0
    try check(MPI_Initialized(&initialized), "MPI_Initialized")
    precondition(initialized == 0, "withMPI runs once per process")
    // Only for itself: a program that this one starts may be a launcher.
    let settings = isAlone() ? aloneSettings.filter { getenv($0.name) == nil } : []
    for (name, value) in settings { setenv(name, value, 0) }
    defer { for (name, _) in settings { unsetenv(name) } }
    var provided: Int32 = 0
    try check(MPI_Init_thread(nil, nil, Int32(MPI_THREAD_FUNNELED), &provided), "MPI_Init_thread")
    guard provided >= Int32(MPI_THREAD_FUNNELED) else {
        throw MPIError(
            code: provided, text: "this MPI library cannot be used by a program with threads",
            call: "MPI_Init_thread")
    }
    return try Communicator(worldWithExitCode: exitCode)
}

private func run<R>(
    _ body: (borrowing Communicator) throws -> R, _ world: borrowing Communicator, _ report: (String) -> Void
) throws -> R {
    let result: R
    do {
        try checkLauncher(world)
        result = try body(world)
    } catch {
        guard let failure = sharedFailure(error, world) else { abort(error, world, report) }
        // Before MPI_Finalize, which no rank leaves before all have come: a launcher kills the other ranks as soon
        // as one has left with a nonzero code, and would silence one that reports later.
        if let underlying = failure.underlying { report("\(underlying)") }
        try finalize()
        throw CollectiveFailure(
            rank: failure.rank, exitCode: failure.exitCode, underlying: nil, groupSize: failure.groupSize)
    }
    try finalize()
    return result
}

/// Throws on every process, with a voice on the launcher's rank 0, when the launcher started several processes and
/// MPI sees one.
private func checkLauncher(_ world: borrowing Communicator) throws {
    let launcher = Launcher()
    guard world.size == 1, let (variable, count) = launcher.processes, count > 1 else { return }
    let mismatch = LauncherMismatch(variable: variable, processes: count, library: mpiLibraryVersion())
    let speaks = launcher.rank ?? 0 == 0
    // These processes have no MPI to agree with: the silent ones stay until rank 0 has surely spoken, because the
    // launcher may end it when they leave.
    if !speaks { sleep(1) }
    throw CollectiveFailure(
        rank: 0, exitCode: world.exitCode(mismatch), underlying: speaks ? mismatch : nil,
        groupSize: world.size)
}

/// The failure that every rank knows of; nil when others know nothing of `error` and may be waiting for this rank.
private func sharedFailure(_ error: any Error, _ world: borrowing Communicator) -> CollectiveFailure? {
    if let failure = error as? CollectiveFailure, failure.groupSize == world.size { return failure }
    if world.size > 1 { return nil }
    return CollectiveFailure(rank: 0, exitCode: world.exitCode(error), underlying: error, groupSize: 1)
}

private func finalize() throws {
    try check(MPI_Finalize(), "MPI_Finalize")
}

/// Reports an error that not all ranks know of and takes them all down.
private func abort(_ error: any Error, _ world: borrowing Communicator, _ report: (String) -> Void) -> Never {
    let groupFailure = error as? CollectiveFailure
    let exitCode = groupFailure?.exitCode ?? world.exitCode(error)
    if let groupFailure, groupFailure.underlying == nil {
        sleep(1)  // So that the rank of the group that has the error reports it before the job ends.
    } else {
        report("rank \(world.rank): \(error)")
    }
    _ = MPI_Abort(lockstep_mpi_comm_world(), exitCode)
    exit(exitCode)
}
