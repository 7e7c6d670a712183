import Configs

/// A change that makes a configuration need less memory.
public struct MemoryKnob: Sendable, Encodable {
    /// In words and as `key=value`.
    public let change: String
    /// Of a node, with this change alone.
    public let nodeMemory: Int
    public let savedBytes: Int

    enum CodingKeys: String, CodingKey {
        case change
        case nodeMemory = "node_memory_bytes"
        case savedBytes = "saved_bytes"
    }
}

extension PlanSearch {
    /// Every change that saves memory against the configuration as it is written, most first; the last is all of them
    /// together.
    func knobs() throws -> [MemoryKnob] {
        let start = try layoutAsWritten()
        let before = try nodeMemory(start, config)
        var smallest = (layout: start, config: config)
        var knobs: [MemoryKnob] = []
        func turn(_ words: String, _ change: (inout PlanLayout, inout RunConfig) -> Void) throws {
            var (layout, turned) = (start, config)
            change(&layout, &turned)
            let memory = try nodeMemory(layout, turned)
            guard memory < before else { return }
            knobs.append(MemoryKnob(change: words, nodeMemory: memory, savedBytes: before - memory))
            change(&smallest.layout, &smallest.config)
        }
        try turn("train.micro_batch=1") { layout, _ in layout.microBatch = 1 }
        try turn("model.attention=recomputed") { layout, _ in layout.attention = .recomputed }
        try turn("precision.activations=bf16") { _, config in config.precision.activations = .bf16 }
        if start.ranks > 1 {
            try turn("parallel.optimizer_sharding=true") { layout, _ in layout.optimizerSharding = true }
        }
        try turn("1 rank a node, parallel.threads_per_rank=\(cluster.cores)") { layout, _ in
            (layout.ranksPerNode, layout.threads) = (1, cluster.cores)
        }
        try turn("train.optimizer.name=sgd") { _, config in
            config.train.optimizer.name = .sgd
            config.train.optimizer.momentum = 0
        }
        let half = config.model.contextLength / 2
        if half > 0 {
            try turn("model.context_length=\(half)") { _, config in config.model.contextLength = half }
        }
        let halfSource = config.model.sourceLength / 2
        if halfSource > 0 {
            try turn("model.source_length=\(halfSource)") { _, config in
                config.model.sourceLength = halfSource
            }
        }
        let least = try nodeMemory(smallest.layout, smallest.config)
        return knobs.sorted { $0.savedBytes > $1.savedBytes } + [
            MemoryKnob(change: "all of these", nodeMemory: least, savedBytes: before - least)
        ]
    }

    private func nodeMemory(_ layout: PlanLayout, _ config: RunConfig) throws -> Int {
        try estimate(layout, of: config).memory.node ?? 0
    }

    /// All nodes and cores, as far as the global batch can be divided among them, and the configuration's own settings.
    private func layoutAsWritten() throws -> PlanLayout {
        let (train, parallel) = (config.train, config.parallel)
        let threads = min(parallel.threadsPerRank, cluster.cores)
        let nodes = divisors(of: train.globalBatch).last { $0 <= cluster.nodes } ?? 1
        let ranksPerNode =
            divisors(of: train.globalBatch / nodes).last { $0 <= max(1, cluster.cores / threads) } ?? 1
        let share = train.globalBatch / (nodes * ranksPerNode)
        var microBatch = try resolvedMicroBatch(
            config: config.withAutomaticMicroBatch, ranks: nodes * ranksPerNode)
        if case .sequences(let count) = train.microBatch, share % count == 0 { microBatch = count }
        return PlanLayout(
            nodes: nodes, ranksPerNode: ranksPerNode, threads: threads, microBatch: microBatch,
            attention: config.model.attention, optimizerSharding: parallel.optimizerSharding,
            bucketMib: parallel.bucketMib)
    }
}

extension RunConfig {
    fileprivate var withAutomaticMicroBatch: RunConfig {
        var config = self
        config.train.microBatch = .auto
        return config
    }
}
