import Cost
import Kernels
import Ledger
import MessagePassing

/// Meters how fast every rank is while it trains, between steps and within long ones, as calibration did. All ranks take
/// their samples at the same places, so that none waits for another's; only between steps do they take them together.
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
    /// Samples of the step under way, the last one before it included.
    private var ofStep: [ReferenceMeter.Times] = []

    /// Seconds between two samples, of some milliseconds each, at first; less often in long runs.
    private static let seconds = 0.25
    private static let samplesAtEitherEnd = 4

    /// Before anything of the run is allocated.
    package init(_ team: ThreadTeam, over topology: Topology) throws {
        meter = try ReferenceMeter(backend: OpenBLAS(), team: team, topology: topology)
    }

    /// The same, for steps that are expected to take `stepSeconds`: on all ranks as long as on the one that expects most,
    /// should their profiles not be the same. Collective.
    func paced(for stepSeconds: Double?, on world: borrowing Communicator) throws -> SpeedMeter {
        var longest = [stepSeconds ?? 0]
        try longest.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .max) }
        let stepSeconds = longest[0] > 0 ? longest[0] : nil
        let steps = stepSeconds.map { Self.seconds / max($0, 1e-6) } ?? 1
        var paced = self
        paced.stepSeconds = stepSeconds
        paced.interval = max(1, Int(min(steps, 1e6)))
        return paced
    }

    /// Before the first step, and after the last. Collective.
    mutating func sampleAtEitherEnd() throws {
        for _ in 0..<Self.samplesAtEitherEnd { add(isThinned: try meter.sampleTogether()) }
        beginStep()
    }

    /// Where a step can be interrupted.
    mutating func pause() {
        pauses += 1
        if let pausesPerSample, pauses.isMultiple(of: pausesPerSample) {
            add(isThinned: meter.sampleAlone())
        }
    }

    /// After step `number`. Returns how fast the rank was around it. Collective.
    mutating func sample(after number: Int) throws -> StepSample.Speed? {
        if number.isMultiple(of: interval) { add(isThinned: try meter.sampleTogether()) }
        if pausesPerSample == nil, pauses > 0, let stepSeconds, stepSeconds > 2 * Self.seconds {
            pausesPerSample = max(1, Int(Double(pauses) * Self.seconds / min(stepSeconds, 1e6)))
        }
        pauses = 0
        let speed = ofStep.isEmpty ? nil : meter.rates(.mean(of: ofStep))
        beginStep()
        return speed
    }

    /// Adds the meter's last sample, for which every other one may have gone.
    private mutating func add(isThinned: Bool) {
        // Those that are kept lie twice as far apart.
        if isThinned {
            interval *= 2
            pausesPerSample? *= 2
        }
        if let last = meter.last { ofStep.append(last) }
    }

    private mutating func beginStep() {
        ofStep.removeAll(keepingCapacity: true)
        if let last = meter.last { ofStep.append(last) }
    }

    /// Of all samples so far, of every rank. Collective.
    func speeds(on world: borrowing Communicator) throws -> RunSpeed {
        RunSpeed(ranks: try meter.speeds(on: world))
    }
}
