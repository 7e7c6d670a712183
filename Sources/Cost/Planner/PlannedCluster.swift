import Configs

/// A cluster on paper: nodes like the calibrated machine, with as many cores and as much memory as its file says.
///
/// The layouts of a plan differ in much that leaves a rank's own work as it is, so that each kind of work is added up
/// once and kept.
final class PlannedCluster {
    let network: ClusterConfig.Network
    let profile: Profile
    private let availableMemory: Int
    private var known: [Kind: (seconds: PhaseSeconds, isMeasured: Bool)] = [:]

    init(_ cluster: ClusterConfig, _ profile: Profile) {
        network = cluster.network
        availableMemory = cluster.availableMemory
        var node = profile
        node.machine.cores = cluster.cores
        // What lies between hosts is the cluster file's to say.
        let alone = profile.layouts.filter { $0.hosts == 1 }
        if !alone.isEmpty { node.layouts = alone }
        self.profile = node
    }

    /// Whether a node has room for its ranks.
    func holds(_ memory: Estimate.Memory) -> Bool {
        memory.node.map { $0 <= availableMemory } ?? false
    }

    /// Seconds of the parts of a step, as `Profile.phaseSeconds` has them.
    func phaseSeconds(
        _ config: RunConfig, _ placement: Placement, microBatch: Int, parameters: ParameterCount,
        updated: Int, footprint: Int
    ) -> (seconds: PhaseSeconds, isMeasured: Bool)? {
        let kind = Kind(
            ranksPerHost: placement.ranksPerHost, threads: placement.threads, microBatch: microBatch,
            attention: config.model.attention,
            // From there on no cache helps.
            footprint: min(footprint, Coldness.memoryDistance))
        if known[kind] == nil {
            let workload = Workload(
                config, microBatch: microBatch, sequencesPerRank: microBatch, parameters: parameters,
                updated: parameters.total)
            let node = Placement(ranks: placement.ranksPerHost, hosts: 1, threads: placement.threads)
            known[kind] = profile.phaseSeconds(workload, node, footprint: kind.footprint)
        }
        guard var found = known[kind] else { return nil }
        // The update takes time in proportion to what is updated.
        found.seconds.optimizer = Double(updated) / Double(max(1, parameters.total)) * found.seconds.optimizer
        return found
    }

    private struct Kind: Hashable {
        let ranksPerHost: Int
        let threads: Int
        let microBatch: Int
        let attention: ModelConfig.AttentionMode
        let footprint: Int
    }
}
