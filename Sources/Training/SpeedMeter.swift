import Cost
import Kernels
import Ledger
import MessagePassing

/// Meters how fast every rank is while it trains, between steps, as calibration did.
package struct SpeedMeter {
    private let meter: ReferenceMeter
    /// Steps between two samples.
    private var interval = 1

    /// Seconds between two samples, of two or three milliseconds each, at first; less often in long runs.
    private static let seconds = 0.25
    private static let samplesAtEitherEnd = 4

    /// Before anything of the run is allocated.
    package init(_ team: ThreadTeam) throws {
        meter = try ReferenceMeter(backend: OpenBLAS(), team: team)
    }

    /// The same, for steps that are expected to take `stepSeconds`.
    func paced(for stepSeconds: Double?) -> SpeedMeter {
        let steps = stepSeconds.map { Self.seconds / max($0, 1e-6) } ?? 1
        var paced = self
        paced.interval = max(1, Int(min(steps, 1e6)))
        return paced
    }

    /// Before the first step, and after the last.
    mutating func sampleAtEitherEnd() {
        for _ in 0..<Self.samplesAtEitherEnd { sample() }
    }

    /// After step `number`: all ranks at the same steps, so that none waits for another's sample.
    mutating func sample(after number: Int) {
        if number.isMultiple(of: interval) { sample() }
    }

    private mutating func sample() {
        // Those that are kept lie twice as far apart.
        if meter.sample() { interval *= 2 }
    }

    /// Of all samples so far, of every rank. Collective.
    func speeds(on world: borrowing Communicator) throws -> RunSpeed {
        RunSpeed(ranks: try meter.speeds(on: world))
    }
}
