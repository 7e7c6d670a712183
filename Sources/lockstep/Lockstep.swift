import ArgumentParser
import CTiles
import Configs
import Foundation
import MessagePassing

/// The program: each subcommand has a file of its own; under `mpirun` every process is a rank.
@main struct Lockstep: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lockstep",
        abstract: "Train Transformers on CPUs across MPI ranks, and know what it costs.",
        discussion: """
            Example:
              lockstep estimate configs/quickstart.yaml --ranks 1,2
              mpirun -n 2 lockstep train configs/quickstart.yaml
              lockstep verify runs/quickstart
            """,
        version: "0.1.0",
        subcommands: [
            EstimateCommand.self, TrainCommand.self, CalibrateCommand.self, VerifyCommand.self,
            PlanCommand.self, EvaluateCommand.self,
            GenerateCommand.self, DataCommand.self, ExportCommand.self, ImportCommand.self,
            DoctorCommand.self,
        ])

    static func main() {
        StandardOutput.prepareStreams()
        requireInstructionSet()
        var command: any ParsableCommand
        do {
            try checkArguments()
            command = try parseAsRoot()
        } catch {
            leaveUnlessFirst()
            leave(with: error)
        }
        if !(command is any RankCommand) { leaveUnlessFirst() }
        do {
            try command.run()
        } catch {
            leave(with: error)
        }
    }

    /// What all processes of a launcher find before MPI starts, one of them says. The others leave without a word and
    /// with code 0, because a launcher ends the rest of a job, heard or not, as soon as one leaves with another code.
    private static func leaveUnlessFirst() {
        if launchedRank() > 0 { Foundation.exit(EXIT_SUCCESS) }
    }

    private static func leave(with error: any Error) -> Never {
        switch error {
        case let failure as CollectiveFailure:
            Foundation.exit(failure.exitCode)
        case let error as LockstepError:
            reportToStandardError("lockstep: error: \(error.description)")
            Foundation.exit(error.status.rawValue)
        default:
            exit(withError: error)
        }
    }

    /// Throws `.usage` for what the parser of arguments has no good words for.
    private static func checkArguments() throws {
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[index] else { break }
            guard String(validatingCString: argument) != nil else {
                throw LockstepError(
                    .usage, "argument \(index), '\(String(cString: argument))', is not UTF-8 text")
            }
        }
        let names = configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
        guard let first = CommandLine.arguments.dropFirst().first, !first.hasPrefix("-"),
            !names.contains(first)
        else { return }
        let hint = nearest(to: first, among: names).map { "; did you mean \($0)?" } ?? "."
        throw LockstepError(
            .usage,
            "there is no command '\(first)'\(hint) The commands are \(names.joined(separator: ", ")); "
                + "`lockstep --help` says what they do.")
    }

    /// Leaves with a message instead of a signal when the binary was built for a newer CPU. Before anything else runs: the
    /// kernels' instructions may be anywhere in the binary's Swift code.
    private static func requireInstructionSet() {
        let (built, offered) = (lockstep_built_isa_level(), lockstep_cpu_isa_level())
        guard built > offered else { return }
        reportToStandardError(
            "lockstep: error: this binary was built for x86-64-v\(built), but the CPU of "
                + "\(ProcessInfo.processInfo.hostName) offers x86-64-v\(offered). Build with "
                + "LOCKSTEP_ISA_LEVEL=\(offered) for the oldest node.")
        Foundation.exit(ExitStatus.internalBug.rawValue)
    }
}

/// A command that every process of a launcher runs, as a rank. Any other is run by the first process alone.
protocol RankCommand: ParsableCommand {}

/// Runs `body` as a rank of the MPI world; an error leaves with the exit code it stands for.
func withWorld<R>(_ body: (borrowing Communicator) throws -> R) throws -> R {
    try withMPI(
        exitCode: { ($0 as? LockstepError)?.status.rawValue ?? ExitStatus.internalBug.rawValue },
        report: { reportToStandardError("lockstep: error: \($0)") }, body)
}
