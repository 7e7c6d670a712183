import Configs
import Foundation

/// A way of sharing nodes among ranks, and of fitting a model into them, that leaves what is learned as it is.
public struct PlanLayout: Sendable, Equatable, Encodable {
    public var nodes: Int
    public var ranksPerNode: Int
    public var threads: Int
    /// Sequences.
    public var microBatch: Int
    public var attention: ModelConfig.AttentionMode
    public var optimizerSharding: Bool
    public var bucketMib: ParallelConfig.BucketSize

    public var ranks: Int { nodes * ranksPerNode }

    enum CodingKeys: String, CodingKey {
        case nodes, threads, attention
        case ranksPerNode = "ranks_per_node"
        case microBatch = "micro_batch"
        case optimizerSharding = "optimizer_sharding"
        case bucketMib = "bucket_mib"
    }

    /// `config` run this way.
    public func applied(to config: RunConfig) -> RunConfig {
        var config = config
        config.train.microBatch = .sequences(microBatch)
        config.model.attention = attention
        config.parallel.threadsPerRank = threads
        config.parallel.optimizerSharding = optimizerSharding
        config.parallel.bucketMib = bucketMib
        return config
    }

    /// What to change in `config` to run it this way, `key=value` each.
    public func overrides(of config: RunConfig) -> [String] {
        var changes: [String] = []
        func change(_ key: String, _ value: String, isNew: Bool) {
            if isNew { changes.append("\(key)=\(value)") }
        }
        let (train, parallel) = (config.train, config.parallel)
        change("train.micro_batch", "\(microBatch)", isNew: train.microBatch != .sequences(microBatch))
        change("model.attention", attention.rawValue, isNew: config.model.attention != attention)
        change("parallel.threads_per_rank", "\(threads)", isNew: parallel.threadsPerRank != threads)
        change(
            "parallel.optimizer_sharding", "\(optimizerSharding)",
            isNew: parallel.optimizerSharding != optimizerSharding)
        change("parallel.bucket_mib", bucketMib.description, isNew: parallel.bucketMib != bucketMib)
        return changes
    }
}

extension PlanLayout {
    /// The layouts of `nodes` × `ranksPerNode` that differ in threads, attention, sharding and micro-batch, in groups of
    /// ascending micro-batch: where one needs too much memory, so do those after it.
    ///
    /// - Parameter bucketMib: of these nodes and ranks.
    static func groups(
        _ config: RunConfig, nodes: Int, ranksPerNode: Int, cores: Int, bucketMib: ParallelConfig.BucketSize
    ) -> [[PlanLayout]] {
        let share = config.train.globalBatch / (nodes * ranksPerNode)
        // More rows than that share a packed weight matrix no better.
        let most = max(1, 32_768 / config.model.contextLength)
        let microBatches = thinned(divisors(of: share).filter { $0 <= most }, ratio: 2)
        let shardings = nodes * ranksPerNode > 1 ? [false, true] : [false]
        return thinned(divisors(of: cores / ranksPerNode), ratio: 2).flatMap { threads in
            ModelConfig.AttentionMode.allCases.flatMap { attention in
                shardings.map { isSharded in
                    microBatches.map {
                        PlanLayout(
                            nodes: nodes, ranksPerNode: ranksPerNode, threads: threads, microBatch: $0,
                            attention: attention, optimizerSharding: isSharded, bucketMib: bucketMib)
                    }
                }
            }
        }
    }

    /// Numbers of nodes, and of ranks a node, among which the global batch can be divided.
    static func placements(_ config: RunConfig, _ cluster: ClusterConfig) -> [(nodes: Int, ranksPerNode: Int)]
    {
        let batch = config.train.globalBatch
        // At most about 16 of each, however many there are.
        func ratio(_ most: Int) -> Double { max(1.2, pow(Double(most), 1.0 / 16)) }
        let nodes = thinned(
            divisors(of: batch).filter { $0 <= cluster.nodes }, ratio: ratio(cluster.nodes))
        return nodes.flatMap { nodes in
            let counts = divisors(of: batch / nodes).filter { $0 <= cluster.cores }
            return thinned(counts, ratio: ratio(cluster.cores)).map { (nodes, $0) }
        }
    }
}

/// Ascending.
func divisors(of count: Int) -> [Int] {
    var (small, large): ([Int], [Int]) = ([], [])
    var candidate = 1
    while candidate <= count / candidate {
        if count % candidate == 0 {
            small.append(candidate)
            if candidate != count / candidate { large.append(count / candidate) }
        }
        candidate += 1
    }
    return small + large.reversed()
}

/// Of ascending numbers the first, the last, and in between those that are `ratio` apart.
private func thinned(_ numbers: [Int], ratio: Double) -> [Int] {
    var kept: [Int] = []
    for number in numbers.reversed()
    where kept.isEmpty || number == numbers[0] || Double(kept[kept.count - 1]) >= ratio * Double(number) {
        kept.append(number)
    }
    return kept.reversed()
}
