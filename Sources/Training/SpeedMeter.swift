import Cost
import Kernels
import Ledger
import MessagePassing

/// Meters how fast the machine is, before a run and after it, as calibration did.
package struct SpeedMeter {
    private let meter: ReferenceMeter
    /// Enough for a few dozen products and copies.
    private static let seconds = 0.3
    package let start: ReferenceSpeed

    /// Measures, before anything of the run is allocated. Collective.
    package init(_ team: ThreadTeam, on world: borrowing Communicator) throws {
        meter = ReferenceMeter(backend: OpenBLAS(), team: team)
        start = try meter.measure(seconds: Self.seconds, on: world)
    }

    /// Measures again. Collective.
    package func measure(on world: borrowing Communicator) throws -> ReferenceSpeed {
        try meter.measure(seconds: Self.seconds, on: world)
    }
}
