import Cost
import Ledger
import MessagePassing
import Training

/// Times of many things, each beside the meter's samples around it: a core whose speed changes from one moment to the next
/// does all of them more slowly, and a short one is not to be caught at its best, a long one at its typical speed.
final class RelativeTimes {
    /// Seconds of a thing in two states, and the mean of the samples around it.
    private typealias Sample = (seconds: SIMD2<Double>, around: ReferenceSpeed)

    private let meter: ReferenceMeter
    /// By what was timed.
    private var samples: [[Sample]]
    /// Timed since the last sample.
    private var open: [(index: Int, seconds: SIMD2<Double>)] = []

    /// - Parameter count: of the things to time.
    init(count: Int, meter: ReferenceMeter) {
        self.meter = meter
        samples = .init(repeating: [], count: count)
        meter.sampleAlone()
    }

    /// What thing `index` has just taken, in two states.
    func add(_ seconds: SIMD2<Double>, of index: Int) { open.append((index, seconds)) }

    /// Begins anew after other work, with the other ranks. Collective.
    func restartTogether() throws { try meter.sampleTogether() }

    /// Takes a sample, and holds it and the one before it against what was timed in between.
    func close() {
        let before = meter.last
        meter.sampleAlone()
        close(since: before)
    }

    /// The same of what the ranks do together. Collective.
    func closeTogether() throws {
        let before = meter.last
        try meter.sampleTogether()
        close(since: before)
    }

    private func close(since before: ReferenceMeter.Times?) {
        guard let before, let after = meter.last else { preconditionFailure("a meter without a sample") }
        let around = ReferenceSpeed(meter.rates(.mean(of: [before, after])))
        for (index, seconds) in open { samples[index].append((seconds, around)) }
        open.removeAll(keepingCapacity: true)
    }

    /// Seconds of every product when the reference product is as fast as `reference` says, the mean over the ranks. Each
    /// must have been timed. Collective.
    func products(at reference: ReferenceSpeed, on ranks: borrowing Communicator) throws -> [SIMD2<Double>] {
        try samples.map { samples in
            func seconds(_ state: Int) throws -> Double {
                let typical = samples.map {
                    $0.seconds[state] * ReferenceDrift(of: $0.around, from: reference).products
                }
                return try mean(typical.median, on: ranks)
            }
            return SIMD2(try seconds(0), try seconds(1))
        }
    }

    /// Seconds of row kernel `index` when all references are as fast as `reference` says, the mean over the ranks.
    /// Collective.
    ///
    /// - Parameter hot: of them, what it takes with its operands in the cache; nil when they are there.
    func kernel(
        _ index: Int, hot: Double?, at reference: ReferenceSpeed, on ranks: borrowing Communicator
    ) throws -> Double {
        let typical = samples[index].map { sample in
            let drift = ReferenceDrift(of: sample.around, from: reference)
            let seconds = sample.seconds.x
            guard let hot else { return seconds * drift.kernels }
            // What is left for memory; never less than nothing.
            return hot + max(0, seconds - hot / drift.kernels) * drift.copies
        }
        return try mean(typical.median, on: ranks)
    }

    /// The middle of the seconds that thing `index` took, as fast as it then was; nil when it was not timed.
    func median(of index: Int) -> Double? {
        samples[index].isEmpty ? nil : samples[index].map(\.seconds.x).median
    }

    /// Seconds of exchange `index` among the ranks of a host when all references are as fast as `reference` says, the mean over
    /// the ranks; nil when it was not timed. Collective.
    ///
    /// - Parameters:
    ///   - isSharded: whether other work came between its sums and their copies.
    ///   - ofCaches: by how much it comes from caches, and not from memory.
    func reduction(
        _ index: Int, isSharded: Bool, ofCaches: Double, at reference: ReferenceSpeed,
        on ranks: borrowing Communicator
    ) throws -> Double? {
        guard !samples[index].isEmpty else { return nil }
        let typical = samples[index].map { sample in
            sample.seconds.x
                * ReferenceDrift(of: sample.around, from: reference)
                .exchanges(isSharded: isSharded, ofCaches: ofCaches)
        }
        return try mean(typical.median, on: ranks)
    }
}
