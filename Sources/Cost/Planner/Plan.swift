import Configs
import Foundation

/// How to train a configuration on a cluster: every layout that fits, and the one to take.
public struct Plan: Sendable {
    public let config: RunConfig
    public let cluster: ClusterConfig
    public let goal: PlanGoal
    public let machine: Profile.Machine
    /// Most cores that were at work at once when the machine was calibrated.
    public let measuredCores: Int
    public let parameters: Int
    /// Those that fit, by ascending time of a step.
    public let candidates: [PlanCandidate]
    /// The fastest, or with a deadline the cheapest that makes it; nil if there is none.
    public let recommended: PlanCandidate?
    /// By ranks of a node, layouts that need more memory than a node has.
    public let refused: [Refusal]
    /// What saves memory, most first, when nothing fits.
    public let knobs: [MemoryKnob]

    /// Layouts with a number of ranks a node that do not fit.
    public struct Refusal: Sendable, Encodable {
        public let ranksPerNode: Int
        public let layouts: Int
        /// Of all with that number of ranks.
        public let considered: Int
        /// The one that lacks least, and the bytes of a node that it lacks.
        public let closest: PlanLayout
        public let missingBytes: Int

        enum CodingKeys: String, CodingKey {
            case layouts, considered, closest
            case ranksPerNode = "ranks_per_node"
            case missingBytes = "missing_bytes"
        }
    }

    /// - Parameters:
    ///   - profile: of a node.
    ///   - corpusTokens: tokens of the corpus; nil when unknown.
    /// - Throws: `LockstepError` if `profile` lacks what a plan needs, or a count does not fit 64 bits.
    public init(
        _ config: RunConfig, on cluster: ClusterConfig, _ goal: PlanGoal, profile: Profile,
        corpusTokens: Int? = nil
    ) throws {
        guard profile.layouts.contains(where: { $0.reductions.contains { $0.hosts == 1 } }) else {
            throw LockstepError(
                .inputMissing,
                "the profile has no reduction within a node, which a plan is made of: calibrate a node with at least "
                    + "two ranks, `mpirun -n 2 lockstep calibrate`, better with one for every core")
        }
        (self.config, self.cluster, self.goal, machine) = (config, cluster, goal, profile.machine)
        var search = PlanSearch(config, cluster, goal, profile: profile, corpusTokens: corpusTokens)
        try search.run()
        (parameters, measuredCores) = (try ParameterCount(config.model).total, search.measuredCores)
        let fitting = search.fitting.sorted(by: Self.isFaster)
        candidates = fitting
        refused = search.refusals
        recommended =
            goal.deadline.map { deadline in
                fitting.filter { $0.seconds <= deadline }.min(by: Self.isCheaper)
            } ?? fitting.first
        knobs = fitting.isEmpty ? try search.knobs() : []
    }

    /// Times that agree in six digits are the same; then the simpler layout comes first.
    private static func isFaster(_ a: PlanCandidate, _ b: PlanCandidate) -> Bool {
        func rank(_ candidate: PlanCandidate) -> (Double, Int, Int, Int) {
            let layout = candidate.layout
            return (
                (1e6 * log(candidate.stepSeconds)).rounded(), layout.nodes, layout.optimizerSharding ? 1 : 0,
                candidate.nodeMemory
            )
        }
        return rank(a) < rank(b)
    }

    /// By price, else by energy, else by node-hours.
    private static func isCheaper(_ a: PlanCandidate, _ b: PlanCandidate) -> Bool {
        let cost = { (candidate: PlanCandidate) in
            candidate.price ?? candidate.kilowattHours ?? candidate.nodeHours
        }
        return cost(a) == cost(b) ? isFaster(a, b) : cost(a) < cost(b)
    }
}
