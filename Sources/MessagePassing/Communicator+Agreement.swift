/// What every rank of a group throws when one of them has failed inside `collectively`.
public struct CollectiveFailure: Error, CustomStringConvertible {
    /// The lowest rank that failed: the one that tells the user.
    public let rank: Int
    /// The exit code of its error, with which every rank leaves.
    public let exitCode: Int32
    /// Its error, on that rank alone; nil elsewhere, and nil once `withMPI` has reported it.
    public let underlying: (any Error)?
    /// The number of ranks that throw it together.
    let groupSize: Int

    public var description: String { underlying.map { "\($0)" } ?? "rank \(rank) failed" }
}

extension Communicator {
    /// Runs `body` on every rank, then has all ranks agree on whether it went well everywhere. If it threw anywhere,
    /// every rank throws the same `CollectiveFailure`. Collective; inside `body`, a rank that can fail on its own
    /// must not be waited for by the others.
    public func collectively<R>(_ body: () throws -> R) throws -> R {
        let outcome = Result { try body() }
        // A failure agreed on in a smaller group is told by the rank that carries it.
        let voice: (any Error)? =
            switch outcome {
            case .success: nil
            case .failure(let failure as CollectiveFailure): failure.underlying
            case .failure(let error): error
            }
        let failing = try agree(on: voice == nil ? Int32.max : Int32(rank), .min)
        guard failing < .max else { return try outcome.get() }
        let code = try agree(on: Int(failing) == rank ? voice.map(exitCode) ?? 0 : 0, .max)
        throw CollectiveFailure(
            rank: Int(failing), exitCode: code, underlying: Int(failing) == rank ? voice : nil,
            groupSize: size)
    }

    /// The reduction of every rank's `value`, on every rank; not counted as payload. Collective.
    package func agree(on value: Int32, _ operation: ReduceOperation) throws -> Int32 {
        var value = value
        try withUnsafeMutableBytes(of: &value) { bytes in
            try allreduce(inPlace: Elements(base: bytes.baseAddress, count: 1, type: .int32), operation)
        }
        return value
    }
}
