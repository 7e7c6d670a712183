import Cost
import MessagePassing
import Training

/// Times of many things, each beside the time of the reference product around it: a core whose speed changes from one
/// moment to the next does all of them more slowly, and a short one is not to be caught at its best, a long one at its
/// typical speed.
final class RelativeTimes {
    private let meter: ReferenceMeter
    /// By what was timed, seconds over those of the reference product.
    private var ratios: [[SIMD2<Double>]]
    /// Timed since the last sample.
    private var open: [(index: Int, seconds: SIMD2<Double>)] = []

    /// - Parameter count: of the things to time.
    init(count: Int, meter: ReferenceMeter) {
        self.meter = meter
        ratios = .init(repeating: [], count: count)
        meter.sample()
    }

    /// What thing `index` has just taken, in two states.
    func add(_ seconds: SIMD2<Double>, of index: Int) { open.append((index, seconds)) }

    /// Takes a sample, and holds it and the one before it against what was timed in between.
    func close() {
        let before = meter.last
        meter.sample()
        guard let before, let after = meter.last else { preconditionFailure("a meter without a sample") }
        let unit = (before.product + after.product) / 2
        for (index, seconds) in open { ratios[index].append(seconds / unit) }
        open.removeAll(keepingCapacity: true)
    }

    /// Seconds of every thing when the reference product is as fast as `reference` says, the mean over the ranks. Each must
    /// have been timed. Collective.
    func seconds(at reference: ReferenceSpeed, on ranks: borrowing Communicator) throws -> [SIMD2<Double>] {
        let unit = ReferenceSpeed.product.flops / reference.flopsPerSecond
        return try ratios.map { ratios in
            SIMD2(
                unit * (try mean(ratios.map(\.x).median, on: ranks)),
                unit * (try mean(ratios.map(\.y).median, on: ranks)))
        }
    }
}
