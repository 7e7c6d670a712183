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
            lockstep estimate configs/quickstart.yaml --ranks 1,2
            mpirun -n 2 lockstep train configs/quickstart.yaml
            lockstep verify runs/quickstart
            """,
        version: "0.1.0",
        subcommands: [
            EstimateCommand.self, TrainCommand.self, VerifyCommand.self, EvaluateCommand.self,
            GenerateCommand.self, DoctorCommand.self,
        ])

    static func main() {
        requireInstructionSet()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as CollectiveFailure {
            Foundation.exit(failure.exitCode)
        } catch let error as LockstepError {
            reportOnce("lockstep: error: \(error.description)")
            Foundation.exit(error.status.rawValue)
        } catch  where isOtherRank {
            Foundation.exit(exitCode(for: error).rawValue)
        } catch {
            exit(withError: error)
        }
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

    /// What every rank finds before MPI starts (a mistyped option, say) is said by one of them.
    private static func reportOnce(_ message: String) {
        if !isOtherRank { reportToStandardError(message) }
    }

    private static var isOtherRank: Bool {
        let environment = ProcessInfo.processInfo.environment
        return ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].contains {
            (environment[$0].flatMap { Int($0) } ?? 0) > 0
        }
    }
}

/// Runs `body` as a rank of the MPI world; an error leaves with the exit code it stands for.
func withWorld(_ body: (borrowing Communicator) throws -> Void) throws {
    try withMPI(
        exitCode: { ($0 as? LockstepError)?.status.rawValue ?? ExitStatus.internalBug.rawValue },
        report: { reportToStandardError("lockstep: error: \($0)") }, body)
}
