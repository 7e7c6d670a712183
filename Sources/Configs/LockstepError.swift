/// Exit codes of `lockstep`; always below 128, so that a code above it means a crash.
public enum ExitStatus: Int32, Sendable {
    case verificationFailed = 1
    case usage = 64
    case badData = 65
    case inputMissing = 66
    case internalBug = 70
    case cannotCreate = 73
    case inputOutput = 74
    case preempted = 75
    case badConfiguration = 78
    case hang = 80
    case nonFinite = 81
    case replicasDiverged = 82
}

/// An error for the user: one paragraph that names the file, key or offset, what was expected and what to do.
public struct LockstepError: Error, Sendable, CustomStringConvertible {
    public let status: ExitStatus
    public let description: String

    public init(_ status: ExitStatus, _ description: String) {
        self.status = status
        self.description = description
    }
}
