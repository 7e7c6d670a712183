import Cost
import Kernels
import Ledger
import MessagePassing

/// Meters how fast every rank is while it trains, between steps and within long ones, as calibration did. All ranks take
/// their samples at the same places, so that none waits for another's.
package struct SpeedMeter {
    private let meter: ReferenceMeter
    /// Of a step, as far as one is expected.
    private var stepSeconds: Double?
    /// Steps between two samples.
    private var interval = 1
    /// Pauses between two samples within a step; nil where steps are short, and until their pauses have been counted.
    private var pausesPerSample: Int?
    /// Of the step under way.
    private var pauses = 0
    /// Samples of the step under way, the last one before it included, and their sum.
    private var ofStep = (samples: 0, sum: ReferenceMeter.Times())

    /// Seconds between two samples, of some milliseconds each, at first; less often in long runs.
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
        paced.stepSeconds = stepSeconds
        paced.interval = max(1, Int(min(steps, 1e6)))
        return paced
    }

    /// Before the first step, and after the last.
    mutating func sampleAtEitherEnd() {
        for _ in 0..<Self.samplesAtEitherEnd { sample() }
        ofStep = (0, .init())
        addLast()
    }

    /// Where a step can be interrupted.
    mutating func pause() {
        pauses += 1
        if let pausesPerSample, pauses.isMultiple(of: pausesPerSample) { sample() }
    }

    /// After step `number`. Returns how fast the rank was around it.
    mutating func sample(after number: Int) -> StepSample.Speed? {
        if number.isMultiple(of: interval) { sample() }
        if pausesPerSample == nil, pauses > 0, let stepSeconds, stepSeconds > 2 * Self.seconds {
            pausesPerSample = max(1, Int(Double(pauses) * Self.seconds / min(stepSeconds, 1e6)))
        }
        pauses = 0
        let speed =
            ofStep.samples > 0 ? ReferenceMeter.rates(ofStep.sum / Double(ofStep.samples)) : nil
        ofStep = (0, .init())
        addLast()
        return speed
    }

    private mutating func sample() {
        // Those that are kept lie twice as far apart.
        if meter.sample() {
            interval *= 2
            pausesPerSample? *= 2
        }
        addLast()
    }

    private mutating func addLast() {
        guard let last = meter.last else { return }
        ofStep = (ofStep.samples + 1, ofStep.sum + last)
    }

    /// Of all samples so far, of every rank. Collective.
    func speeds(on world: borrowing Communicator) throws -> RunSpeed {
        RunSpeed(ranks: try meter.speeds(on: world))
    }
}
