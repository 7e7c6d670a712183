import Foundation

/// What a finished command left behind.
public struct CommandResult: Sendable {
    /// The exit code, or 128 plus the number of the signal that ended it.
    public let exitCode: Int32
    public let standardOutput: String
    public let standardError: String
    /// Wall time from start to end.
    public let seconds: Double
}

/// A command that could not give a result.
public struct CommandError: Error, CustomStringConvertible {
    public let description: String
}

/// Where programs under test look for a user's data: there is none, whatever this machine was calibrated to.
public let emptyDataHome = NSTemporaryDirectory() + "lockstep-no-data-\(getpid())"

/// Runs `executable` and waits for its end. `environment` is added to this process's own, without a profile of the machine.
///
/// Throws `CommandError` when it cannot be started or has not ended after `timeout` seconds; it is killed then.
public func run(
    _ executable: URL, _ arguments: [String] = [], environment: [String: String] = [:],
    timeout: Double = 60
) throws -> CommandResult {
    // Files rather than pipes: a command that writes much never blocks, nor does a left-over child that holds on.
    let folder = FileManager.default.temporaryDirectory.appending(path: "command-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let output = folder.appending(path: "stdout")
    let errors = folder.appending(path: "stderr")

    let process = Process()
    process.executableURL = executable
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment
        .merging(["XDG_DATA_HOME": emptyDataHome]) { $1 }.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try emptyFile(output)
    process.standardError = try emptyFile(errors)
    let ended = DispatchSemaphore(value: 0)
    process.terminationHandler = { _ in ended.signal() }

    let clock = ContinuousClock()
    let start = clock.now
    do {
        try withSignalsUnblocked { try process.run() }
    } catch {
        throw CommandError(description: "cannot start \(executable.path): \(error)")
    }
    let isLate = ended.wait(timeout: .now() + timeout) == .timedOut
    if isLate { end(process, ended) }
    let seconds = (clock.now - start) / .seconds(1)

    let text = try (
        String(decoding: Data(contentsOf: output), as: UTF8.self),
        String(decoding: Data(contentsOf: errors), as: UTF8.self)
    )
    guard !isLate else {
        throw CommandError(
            description: "\(executable.lastPathComponent) \(arguments.joined(separator: " ")) had not ended "
                + "after \(timeout) s; its output:\n\(text.0)\nits errors:\n\(text.1)")
    }
    let signal = process.terminationReason == .uncaughtSignal
    return CommandResult(
        exitCode: process.terminationStatus + (signal ? 128 : 0), standardOutput: text.0,
        standardError: text.1,
        seconds: seconds)
}

/// Threads on which tests run block signals, and a process that they start would inherit that.
public func withSignalsUnblocked<R>(_ body: () throws -> R) rethrows -> R {
    var (none, before) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    return try body()
}

/// Asks first, so that mpirun can take its ranks along.
private func end(_ process: Process, _ ended: DispatchSemaphore) {
    process.terminate()
    if ended.wait(timeout: .now() + 5) == .timedOut {
        kill(process.processIdentifier, SIGKILL)
        ended.wait()
    }
}

private func emptyFile(_ url: URL) throws -> FileHandle {
    try Data().write(to: url)
    return try FileHandle(forWritingTo: url)
}
