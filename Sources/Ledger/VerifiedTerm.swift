import Configs
import Cost

/// A figure that is estimated before a run and measured in it; the table of all of them.
public struct VerifiedTerm: Sendable {
    /// How a rank's steps become one measured figure.
    public enum Aggregation: Sendable {
        /// Every step has to agree; the figure is that of the step farthest from the estimate.
        case everyStep
        /// The largest of all steps.
        case maximum
        /// The median of the steps after the first, which pays for warm caches and connections.
        case medianOfSteadySteps
    }

    public let name: String
    /// `B`, `s`, `FLOP`, or `1` for a plain number.
    public let unit: String
    public let aggregation: Aggregation
    /// Largest allowed |relative error|; 0 asks for equality, nil reports without judging.
    public let defaultTolerance: Double?
    /// Of one rank; nil while nothing is known.
    let estimated: @Sendable (Estimate) -> Double?
    /// nil when the sample does not tell.
    let measured: @Sendable (StepSample) -> Double?

    /// In the order in which they are reported.
    public static let all: [VerifiedTerm] = [
        exact("parameters", "1", { $0.parameters }, { $0.bytes.parameters / MemoryLayout<Float>.size }),
        exact("flops.matmul_per_step", "FLOP", { $0.flops.perStep / $0.ranks }, { $0.matmulFLOPs }),
        exact("memory.parameters", "B", { $0.memory.parameters }, { $0.bytes.parameters }),
        exact("memory.gradients", "B", { $0.memory.gradients }, { $0.bytes.gradients }),
        exact("memory.optimizer", "B", { $0.memory.optimizer }, { $0.bytes.optimizer }),
        exact("memory.activations", "B", { $0.memory.activations }, { $0.bytes.activations }),
        exact("memory.workspace", "B", { $0.memory.workspace }, { $0.bytes.workspace }),
        exact("memory.communication", "B", { $0.memory.communication }, { $0.bytes.communication }),
        exact("memory.data", "B", { $0.memory.data }, { $0.bytes.data }),
        // What the process takes beyond its arenas: binary, libraries, MPI, BLAS.
        peak(
            "memory.runtime", tolerance: nil, { $0.memory.runtime },
            { $0.bytes.residentPeak - $0.bytes.arenas }),
        peak("memory.peak", tolerance: 0.1, { $0.memory.peak }, { $0.bytes.residentPeak }),
        median("time.forward", { $0.time.forward }, { $0.seconds.forward }),
        median("time.backward", { $0.time.backward }, { $0.seconds.backward }),
        median("time.reduce", { $0.time.reduce }, { $0.seconds.reduceExposed }),
        median("time.optimizer", { $0.time.optimizer }, { $0.seconds.optimizer }),
        median("time.step", { $0.time.step }, { $0.seconds.total }),
        exact("traffic.bytes_per_step", "B", { $0.traffic.bytesPerStep }, { $0.sentBytes }),
    ]

    private static func exact(
        _ name: String, _ unit: String, _ estimated: @escaping @Sendable (Estimate) -> Int,
        _ measured: @escaping @Sendable (StepSample) -> Int
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: unit, aggregation: .everyStep, defaultTolerance: 0,
            estimated: { Double(estimated($0)) }, measured: { Double(measured($0)) })
    }

    private static func peak(
        _ name: String, tolerance: Double?, _ estimated: @escaping @Sendable (Estimate) -> Int?,
        _ measured: @escaping @Sendable (StepSample) -> Int
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: "B", aggregation: .maximum, defaultTolerance: tolerance,
            estimated: { estimated($0).map(Double.init) },
            measured: { $0.bytes.residentPeak > 0 ? Double(measured($0)) : nil })
    }

    private static func median(
        _ name: String, _ estimated: @escaping @Sendable (Estimate) -> Double?,
        _ measured: @escaping @Sendable (StepSample) -> Double
    ) -> VerifiedTerm {
        VerifiedTerm(
            name: name, unit: "s", aggregation: .medianOfSteadySteps, defaultTolerance: nil,
            estimated: estimated, measured: { measured($0).finite })
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
