import Configs
import Foundation

/// How a run stands: the contents of `status.json`, which outlive the processes and which launchers trust.
public struct RunStatus: Sendable, Equatable, Codable {
    public enum State: String, Sendable, Codable { case running, completed, failed, preempted }

    public var schemaVersion = 1
    public var state: State
    /// Optimizer steps done, of `steps`.
    public var step: Int
    public var steps: Int
    /// Of the last step, in nats; nil before the first one, or when it is not finite.
    public var loss: Double?
    /// Of the last evaluation, in nats.
    public var validationLoss: Double?
    /// Ranks that compute more slowly than the others at present; nil when none does.
    public var slowRanks: [Int]?
    /// Steps whose update was left out because it was not finite; nil when there was none.
    public var skippedSteps: Int?
    /// Times that this process went back to a checkpoint because a step was not finite; nil when it never did.
    public var rollbacks: Int?
    /// When this was written, UTC, as ISO 8601.
    public var updated = ""
    /// Why the run has ended, unless it took all its steps.
    public var message: String?
    /// Exit code of the process, once it has ended.
    public var exitCode: Int32?

    private enum CodingKeys: String, CodingKey {
        case state, step, steps, loss, rollbacks, updated, message
        case schemaVersion = "schema_version"
        case validationLoss = "validation_loss"
        case slowRanks = "slow_ranks"
        case skippedSteps = "skipped_steps"
        case exitCode = "exit_code"
    }

    public init(state: State, step: Int, steps: Int) {
        self.state = state
        self.step = step
        self.steps = steps
    }

    /// Replaces the file at `path`, stamped with the time. Waits for the disk when the state is a final one.
    public func write(to path: String, at date: Date = Date()) throws(LockstepError) {
        var stamped = self
        stamped.updated = date.ISO8601Format()
        try JSONFile.write(stamped, to: path, durable: state != .running)
    }

    public static func read(from path: String) throws(LockstepError) -> RunStatus {
        try JSONFile.read(RunStatus.self, from: path)
    }

    public func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(schemaVersion, forKey: .schemaVersion)
        try values.encode(state, forKey: .state)
        try values.encode(step, forKey: .step)
        try values.encode(steps, forKey: .steps)
        try values.encode(loss?.finite, forKey: .loss)
        try values.encode(validationLoss?.finite, forKey: .validationLoss)
        try values.encodeIfPresent(slowRanks, forKey: .slowRanks)
        try values.encodeIfPresent(skippedSteps, forKey: .skippedSteps)
        try values.encodeIfPresent(rollbacks, forKey: .rollbacks)
        try values.encode(updated, forKey: .updated)
        try values.encode(message, forKey: .message)
        try values.encode(exitCode, forKey: .exitCode)
    }
}

extension Double {
    /// The number when JSON can hold it.
    var finite: Double? { isFinite ? self : nil }
}
