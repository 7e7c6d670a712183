import Configs
import Foundation

/// What the parts of a step take on one rank, before the reduction: the sum of its products and kernels.
struct PhaseSeconds {
    /// Of one micro-batch.
    var forward: WorkSeconds
    var head: WorkSeconds
    /// Of one layer of one micro-batch.
    var layer: WorkSeconds
    /// Of one layer of an encoder–decoder's encoder.
    var encoderLayer: WorkSeconds
    var rest: WorkSeconds
    /// Once a step.
    var clearing: WorkSeconds
    var optimizer: WorkSeconds
    /// Of one micro-batch, beside `forward`.
    var evaluationHead: WorkSeconds

    /// What `layout` measured says of `workload`, corrected by its probes.
    ///
    /// - Parameter footprint: bytes that a step touches.
    init(_ workload: Workload, on layout: Profile.Layout, footprint: Int) {
        func seconds(_ work: Work) -> WorkSeconds {
            layout.seconds(work, of: workload, footprint: Double(footprint))
        }
        let correction = layout.phases.factors(width: workload.width, footprint: footprint)
        forward = correction.forward * seconds(workload.forward)
        head = correction.backward * seconds(workload.head)
        layer = correction.backward * seconds(workload.backwardOfLayer)
        encoderLayer = correction.backward * seconds(workload.backwardOfEncoderLayer)
        rest = correction.backward * seconds(workload.backwardOfRest)
        clearing = correction.backward * seconds(workload.clearing)
        optimizer = correction.optimizer * seconds(workload.optimizer)
        evaluationHead = correction.forward * seconds(workload.evaluationHead)
    }

    /// Of the backward pass of all layers.
    func layers(of model: ModelConfig) -> WorkSeconds {
        Double(model.numLayers) * layer + Double(model.encoderLayers) * encoderLayer
    }

    /// The parts between those of `self` (`weight` 0) and `other` (1).
    func mixed(with other: PhaseSeconds, weight: Double) -> PhaseSeconds {
        var result = self
        for path in Self.parts {
            result[keyPath: path] = (1 - weight) * self[keyPath: path] + weight * other[keyPath: path]
        }
        return result
    }

    func scaled(by factor: Double) -> PhaseSeconds {
        var result = self
        for path in Self.parts { result[keyPath: path] = factor * result[keyPath: path] }
        return result
    }

    private static var parts: [WritableKeyPath<PhaseSeconds, WorkSeconds>] {
        [
            \.forward, \.head, \.layer, \.encoderLayer, \.rest, \.clearing, \.optimizer, \.evaluationHead,
        ]
    }
}

/// How a run's ranks lie on its hosts.
public struct Placement: Sendable, Equatable {
    public let ranks: Int
    public let hosts: Int
    public let threads: Int
    /// Of the fullest host.
    public var ranksPerHost: Int { (ranks + hosts - 1) / hosts }

    /// - Parameter hosts: at most `ranks`, at least 1.
    public init(ranks: Int, hosts: Int, threads: Int) {
        self.ranks = ranks
        self.hosts = hosts
        self.threads = threads
    }
}

extension Profile {
    /// Seconds of the parts of a step for `placement`, from the layouts that were measured: between them, if it was not
    /// one of them.
    ///
    /// - Returns: the seconds, and whether `placement` itself, or one on other hosts like it, was measured.
    func phaseSeconds(
        _ workload: Workload, _ placement: Placement, footprint: Int
    ) -> (seconds: PhaseSeconds, isMeasured: Bool)? {
        let counts = Set(layouts.filter { $0.knows(workload) }.map(\.threads)).sorted()
        guard let lowest = counts.first, let highest = counts.last else { return nil }
        let below = counts.last { $0 <= placement.threads } ?? lowest
        let above = counts.first { $0 >= placement.threads } ?? highest
        func at(_ threads: Int) -> (seconds: PhaseSeconds, isMeasured: Bool) {
            byRanks(workload, placement, threads: threads, footprint: footprint)
        }
        let (lower, upper) = (at(below), at(above))
        var result = lower.seconds
        if below != above {
            let weight =
                logarithm(placement.threads, over: below) / max(1e-9, logarithm(above, over: below))
            result = lower.seconds.mixed(with: upper.seconds, weight: weight)
        } else if placement.threads != below {
            // More threads than were ever measured share the work almost evenly.
            let ratio = Double(below) / Double(placement.threads)
            let share = ratio < 1 ? 0.1 + 0.9 * ratio : ratio
            result = result.scaled(by: share)
        }
        return (result, lower.isMeasured && below == placement.threads)
    }

    private func byRanks(
        _ workload: Workload, _ placement: Placement, threads: Int, footprint: Int
    ) -> (seconds: PhaseSeconds, isMeasured: Bool) {
        let measured = layouts.filter { $0.threads == threads && $0.knows(workload) }.sorted {
            $0.ranksPerHost < $1.ranksPerHost
        }
        // Several hosts' own layout, if there is one: virtual hosts share cores, real ones do not.
        let alike = measured.filter { ($0.hosts > 1) == (placement.hosts > 1) }
        let known = alike.contains { $0.ranksPerHost == placement.ranksPerHost } ? alike : measured
        func seconds(_ layout: Layout) -> PhaseSeconds {
            PhaseSeconds(workload, on: layout, footprint: footprint)
        }
        let count = placement.ranksPerHost
        if let same = known.first(where: { $0.ranksPerHost == count && $0.hosts == placement.hosts })
            ?? known.first(where: { $0.ranksPerHost == count })
        {
            return (seconds(same), true)
        }
        let below = known.last { $0.ranksPerHost < count } ?? known[0]
        let above = known.first { $0.ranksPerHost > count } ?? known[known.count - 1]
        // Ranks beyond the cores wait for each other.
        let busy = Double(count * placement.threads) / Double(max(1, machine.cores))
        if below.ranksPerHost == above.ranksPerHost {
            return (seconds(below).scaled(by: max(1, busy)), false)
        }
        let weight =
            Double(count - below.ranksPerHost) / Double(above.ranksPerHost - below.ranksPerHost)
        let mixed = seconds(below).mixed(with: seconds(above), weight: max(0, min(1, weight)))
        return (mixed.scaled(by: max(1, busy)), false)
    }

    private func logarithm(_ a: Int, over b: Int) -> Double {
        log2(Double(a) / Double(b))
    }
}
