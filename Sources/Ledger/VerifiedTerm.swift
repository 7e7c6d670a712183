import Configs
import Cost

/// A figure that is estimated before a run and measured in it; the table of all of them.
public struct VerifiedTerm: Sendable {
    /// A step's figure; nil when the sample does not tell. The estimate is for what is left over of a measurement.
    typealias StepFigure = @Sendable (StepSample, Estimate) -> Double?

    /// How a run becomes one measured figure.
    enum Measure: Sendable {
        /// On every rank; every step has to agree, and the figure is that of the step farthest from the estimate.
        case everyStep(StepFigure)
        /// On every rank, the largest of all steps.
        case maximum(StepFigure)
        /// On every rank, the median of the steps after the first, which pays for warm caches and connections.
        case medianOfSteadySteps(StepFigure)
        /// The mean over the ranks of that median: of work that the ranks share, of which one that comes late does more.
        case meanOfSteadySteps(StepFigure)
        /// Once, on rank 0.
        case wholeRun(@Sendable (RunMeasurements) -> Double?)
    }

    public let name: String
    /// `B`, `s`, `FLOP`, or `1` for a plain number.
    public let unit: String
    /// Largest allowed |relative error|; 0 asks for equality, nil reports without judging.
    public let defaultTolerance: Double?
    /// Of one rank; nil while nothing is known.
    let estimated: @Sendable (Estimate, _ rank: Int) -> Double?
    let measure: Measure

    /// In the order in which they are reported.
    public static let all: [VerifiedTerm] = [
        exact("parameters", "1", { $0.parameters }, { $0.bytes.parameters / MemoryLayout<Float>.size }),
        exact("flops.matmul_per_step", "FLOP", { $0.flops.executed / $0.ranks }, { $0.matmulFLOPs }),
        exact("memory.parameters", "B", { $0.memory.parameters }, { $0.bytes.parameters }),
        exact("memory.gradients", "B", { $0.memory.gradients }, { $0.bytes.gradients }),
        exact("memory.optimizer", "B", { $0.memory.optimizer }, { $0.bytes.optimizer }),
        exact("memory.activations", "B", { $0.memory.activations }, { $0.bytes.activations }),
        exact("memory.workspace", "B", { $0.memory.workspace }, { $0.bytes.workspace }),
        exact("memory.communication", "B", { $0.memory.communication }, { $0.bytes.communication }),
        exact("memory.data", "B", { $0.memory.data }, { $0.bytes.data }),
        // What the process takes beyond its arenas: binary, libraries, MPI, BLAS.
        peak("memory.runtime", { $0.memory.runtime(ofRank: $1) }) { sample, _ in
            Double(sample.bytes.residentPeak - sample.bytes.arenas)
        },
        // What of it no estimate knows.
        peak("memory.unattributed", { _, _ in nil }) { sample, estimate in
            estimate.memory.runtime(ofRank: sample.rank).map {
                Double(sample.bytes.residentPeak - sample.bytes.arenas) - $0
            }
        },
        peak("memory.peak", tolerance: 0.02, { $0.memory.peak(ofRank: $1) }) { sample, _ in
            Double(sample.bytes.residentPeak)
        },
        VerifiedTerm(
            name: "memory.node", unit: "B", defaultTolerance: 0.05,
            estimated: { estimate, _ in estimate.memory.node.map(Double.init) },
            measure: .wholeRun { $0.hostBytes.map(Double.init) }),
        median("time.data", { _ in nil }, { $0.data }),
        median("time.forward", { $0.forward }, { $0.forward }),
        median("time.backward", { $0.backward }, { $0.backward }),
        median("time.reduce_overlapped", { $0.reduceOverlapped }, { $0.reduceOverlapped }),
        median("time.wait", { $0.wait }, { $0.wait }),
        median("time.reduce", { $0.reduce }, { $0.reduceExposed }),
        // Both, as one shifts to the other when backward takes longer.
        VerifiedTerm(
            name: "time.reduction", unit: "s", defaultTolerance: 0.15,
            estimated: { estimate, _ in estimate.time.reduction },
            measure: .meanOfSteadySteps { sample, _ in
                (sample.seconds.reduceOverlapped + sample.seconds.reduceExposed).finite
            }),
        median("time.optimizer", { $0.optimizer }, { $0.optimizer }),
        median("time.unattributed", { _ in nil }, { $0.total - $0.phases }),
        median("time.step", tolerance: 0.1, { $0.step }, { $0.total }),
        once("time.evaluation", { $0.evaluation }, { $0.evaluationSeconds }),
        once("time.checkpoint", { $0.checkpoint }, { $0.checkpointSeconds }),
        exact("traffic.bytes_per_step", "B", { $0.traffic.bytesPerStep }, { $0.sentBytes }),
    ]

    private static func exact(
        _ name: String, _ unit: String, _ estimated: @escaping @Sendable (Estimate) -> Int,
        _ measured: @escaping @Sendable (StepSample) -> Int
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: unit, defaultTolerance: 0,
            estimated: { estimate, _ in Double(estimated(estimate)) },
            measure: .everyStep { sample, _ in Double(measured(sample)) })
    }

    private static func peak(
        _ name: String, tolerance: Double? = nil, _ estimated: @escaping @Sendable (Estimate, Int) -> Double?,
        _ measured: @escaping StepFigure
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: "B", defaultTolerance: tolerance, estimated: estimated,
            measure: .maximum { sample, estimate in
                sample.bytes.residentPeak > 0 ? measured(sample, estimate) : nil
            })
    }

    private static func median(
        _ name: String, tolerance: Double? = nil,
        _ estimated: @escaping @Sendable (Estimate.Time) -> Double?,
        _ measured: @escaping @Sendable (StepSample.Seconds) -> Double
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: "s", defaultTolerance: tolerance,
            estimated: { estimate, _ in estimated(estimate.time) },
            measure: .medianOfSteadySteps { sample, _ in measured(sample.seconds).finite })
    }

    private static func once(
        _ name: String, _ estimated: @escaping @Sendable (Estimate.Time) -> Double?,
        _ measured: @escaping @Sendable (RunMeasurements) -> Double?
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: "s", defaultTolerance: nil,
            estimated: { estimate, _ in estimated(estimate.time) }, measure: .wholeRun(measured))
    }
}

extension Estimate.Memory {
    /// Only rank 0 is the coordinator.
    fileprivate func peak(ofRank rank: Int) -> Double? {
        peak.map { Double($0) - (rank == 0 ? 0 : Double(coordinator ?? 0)) }
    }

    fileprivate func runtime(ofRank rank: Int) -> Double? {
        runtime.map { Double($0) + (rank == 0 ? Double(coordinator ?? 0) : 0) }
    }
}

extension StepSample.Seconds {
    /// Sum of all phases.
    fileprivate var phases: Double {
        data + forward + backward + reduceOverlapped + wait + reduceExposed + optimizer
    }
}

/// Largest allowed |relative error| of every term.
public struct Tolerances: Sendable, Equatable {
    private var changed: [String: Double?] = [:]

    public init() {}

    public func tolerance(of term: VerifiedTerm) -> Double? {
        if let tolerance = changed[term.name] { return tolerance }
        return term.defaultTolerance
    }

    /// Reads changes such as `memory.peak=5%`, `memory.peak=0.05`, and `memory.peak=none`, which reports without
    /// judging. Throws `usage` when a text is no change, or its term is unknown.
    public init(parsing changes: [String]) throws(LockstepError) {
        for change in changes {
            let parts = change.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map(String.init)
            guard parts.count == 2, let tolerance = Self.tolerance(parts[1]) else {
                throw LockstepError(
                    .usage,
                    "--tolerance '\(change)': expected TERM=ERROR with an error such as 5%, 0.05 or none, "
                        + "as in memory.peak=5%")
            }
            guard VerifiedTerm.all.contains(where: { $0.name == parts[0] }) else {
                let names = VerifiedTerm.all.map(\.name).joined(separator: ", ")
                throw LockstepError(
                    .usage, "--tolerance '\(change)': no term '\(parts[0])'; there are \(names)")
            }
            changed[parts[0]] = tolerance
        }
    }

    /// A share, or nil inside for `none`; nil when `text` is neither.
    private static func tolerance(_ text: String) -> Double?? {
        if text == "none" { return .some(nil) }
        let isPercentage = text.hasSuffix("%")
        guard let number = Double(isPercentage ? String(text.dropLast()) : text), number.isFinite, number >= 0
        else { return nil }
        return isPercentage ? number / 100 : number
    }
}
