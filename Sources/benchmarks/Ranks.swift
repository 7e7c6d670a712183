import Configs
import Foundation
import MessagePassing

/// Runs `body` as a rank of the MPI world; an error leaves with the exit code it stands for.
func withRanks(_ body: (borrowing Communicator) throws -> Void) throws {
    do {
        try withMPI(
            exitCode: { ($0 as? LockstepError)?.status.rawValue ?? ExitStatus.internalBug.rawValue },
            report: { reportToStandardError("benchmarks: error: \($0)") }, body)
    } catch let failure as CollectiveFailure {
        Foundation.exit(failure.exitCode)
    }
}

extension Communicator {
    /// The most of what the ranks say. Collective.
    func slowest(_ value: Double) throws -> Double {
        try withUnsafeTemporaryAllocation(of: Double.self, capacity: 1) { all in
            all[0] = value
            try allreduce(inPlace: all, .max)
            return all[0]
        }
    }
}
