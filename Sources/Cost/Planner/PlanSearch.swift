import Configs
import Foundation

/// The search through all layouts of a configuration on a cluster.
struct PlanSearch {
    let config: RunConfig
    let cluster: ClusterConfig
    let goal: PlanGoal
    let corpusTokens: Int?
    let measuredCores: Int
    private let planned: PlannedCluster
    private(set) var fitting: [PlanCandidate] = []
    private var tallies: [Int: Tally] = [:]

    private struct Tally {
        var considered = 0
        var layouts = 0
        var closest: PlanLayout?
        var missing = Int.max
    }

    init(
        _ config: RunConfig, _ cluster: ClusterConfig, _ goal: PlanGoal, profile: Profile, corpusTokens: Int?
    ) {
        (self.config, self.cluster, self.goal, self.corpusTokens) = (config, cluster, goal, corpusTokens)
        planned = PlannedCluster(cluster, profile)
        measuredCores = planned.profile.layouts.map { $0.ranksPerHost * $0.threads }.max() ?? 1
    }

    mutating func run() throws {
        for (nodes, ranksPerNode) in PlanLayout.placements(config, cluster) {
            let bucket = try bucketMib(nodes: nodes, ranksPerNode: ranksPerNode)
            var tally = tallies[ranksPerNode] ?? Tally()
            let groups = PlanLayout.groups(
                config, nodes: nodes, ranksPerNode: ranksPerNode, cores: cluster.cores, bucketMib: bucket)
            for group in groups {
                tally.considered += group.count
                for (index, layout) in group.enumerated() {
                    guard let missing = try consider(layout) else { continue }
                    tally.layouts += group.count - index
                    if missing < tally.missing { (tally.closest, tally.missing) = (layout, missing) }
                    break
                }
            }
            tallies[ranksPerNode] = tally
        }
    }

    var refusals: [Plan.Refusal] {
        tallies.sorted { $0.key < $1.key }.compactMap { ranksPerNode, tally in
            tally.closest.map {
                Plan.Refusal(
                    ranksPerNode: ranksPerNode, layouts: tally.layouts, considered: tally.considered,
                    closest: $0, missingBytes: tally.missing)
            }
        }
    }

    func estimate(_ layout: PlanLayout, of config: RunConfig) throws -> Estimate {
        try Estimate(
            config: layout.applied(to: config), ranks: layout.ranks, hosts: layout.nodes,
            profile: planned.profile, corpusTokens: corpusTokens, cluster: planned)
    }

    /// Adds `layout` to those that fit. Returns the bytes that a node lacks for it, if it does not.
    private mutating func consider(_ layout: PlanLayout) throws -> Int? {
        let estimate = try estimate(layout, of: config)
        if let node = estimate.memory.node, node > cluster.availableMemory {
            return node - cluster.availableMemory
        }
        let candidate = try PlanCandidate(
            layout, config, estimate, cluster, goal, sequenceSeconds: sequenceSeconds(layout, estimate),
            measuredCores: measuredCores)
        if let candidate { fitting.append(candidate) }
        return nil
    }

    /// Seconds that one core takes for a sequence when all others rest.
    private func sequenceSeconds(_ layout: PlanLayout, _ estimate: Estimate) throws -> Double {
        let alone = try planned.phaseSeconds(
            layout.applied(to: config), Placement(ranks: 1, hosts: 1, threads: 1),
            microBatch: layout.microBatch, parameters: ParameterCount(config.model),
            updated: estimate.parameters, footprint: estimate.memory.arenas)
        guard let parts = alone?.seconds else { return 0 }
        let pass =
            parts.forward + parts.head + parts.layers(of: config.model) + parts.rest
        return pass.total / Double(layout.microBatch)
    }

    /// The configuration's bucket, or a larger one in which the latency of a reduction's messages is at most a quarter of
    /// their transfer: the longer the rings, the larger the pieces.
    private func bucketMib(nodes: Int, ranksPerNode: Int) throws -> ParallelConfig.BucketSize {
        guard nodes > 1 else { return config.parallel.bucketMib }
        let placement = Placement(ranks: nodes * ranksPerNode, hosts: nodes, threads: 1)
        let cost = planned.profile.hierarchicalCost(placement, network: cluster.network)
        let whole = 4 * Double(try ParameterCount(config.model).total)
        let wanted = min(4 * cost.latency / cost.secondsPerByte, whole) / Double(1 << 20)
        let mebibytes = min(1024, 1 << Int(log2(max(1, wanted)).rounded(.up)))
        let isLarger = mebibytes << 20 > config.parallel.bucketBytes(ranks: nodes * ranksPerNode)
        return isLarger ? .mebibytes(mebibytes) : config.parallel.bucketMib
    }
}
