import Configs
import Cost
import MessagePassing

/// What helps most when a configuration does not fit into memory: the changes that save the most bytes of a rank.
struct MemoryRemedy {
    private struct Change {
        /// As it is written on the command line.
        let setting: String
        let keepsModel: Bool
        let config: RunConfig
    }

    private let arenas: Int
    /// Changes and the bytes of a rank that they save; most first.
    private let savings: [(change: Change, bytes: Int)]

    init(_ config: RunConfig, over topology: Topology) throws {
        let ranks = topology.all.size
        let estimate = try Estimate(config: config, over: topology)
        let arenas = estimate.memory.arenas
        self.arenas = arenas
        savings = Self.changes(of: config, microBatch: estimate.microBatch, ranks: ranks)
            .compactMap { change in
                // What is no configuration helps nobody.
                guard let changed = try? Estimate(config: change.config, over: topology) else { return nil }
                return (change, arenas - changed.memory.arenas)
            }
            .filter { $0.bytes > 0 }.sorted { $0.bytes > $1.bytes }
    }

    /// A sentence for an error.
    func text(ranksOfHost: Int) -> String {
        var clauses: [String] = []
        if let best = savings.first(where: { $0.change.keepsModel }) {
            clauses.append(
                "\(best.change.setting) saves \(Quantity.bytes(best.bytes)) and leaves the model as it is")
        }
        if let best = savings.first(where: { !$0.change.keepsModel }) {
            clauses.append(
                "of the model's sizes \(best.change.setting) helps most and saves \(Quantity.bytes(best.bytes))"
            )
        }
        if ranksOfHost > 1 { clauses.append("fewer ranks on this host save all of theirs") }
        guard !clauses.isEmpty else { return "use a host with more memory" }
        return "a rank's arenas take \(Quantity.bytes(arenas)), of which " + clauses.joined(separator: ", ")
            + "; `lockstep estimate` shows every term."
    }

    /// One key each, halved where it is a size.
    private static func changes(
        of config: RunConfig, microBatch: Int, ranks: Int
    ) -> [Change] {
        var changes: [Change] = []
        func add(_ setting: String, keepsModel: Bool, _ change: (inout RunConfig) -> Void) {
            var changed = config
            change(&changed)
            changes.append(Change(setting: setting, keepsModel: keepsModel, config: changed))
        }
        func addHalved(_ key: String, _ path: WritableKeyPath<RunConfig, Int>, unit: Int = 1) {
            let half = config[keyPath: path] / 2 / unit * unit
            if half > 0 { add("\(key)=\(half)", keepsModel: false) { $0[keyPath: path] = half } }
        }
        if microBatch > 1 {
            let fewer = largestDivisor(of: config.train.globalBatch / ranks, upTo: microBatch / 2)
            add("train.micro_batch=\(fewer)", keepsModel: true) { $0.train.microBatch = .sequences(fewer) }
        }
        if config.model.attention == .stored {
            add("model.attention=recomputed", keepsModel: true) { $0.model.attention = .recomputed }
        }
        if config.precision.activations == .fp32 {
            add("precision.activations=bf16", keepsModel: true) { $0.precision.activations = .bf16 }
        }
        addHalved("model.num_layers", \.model.numLayers)
        // Rotary positions turn the halves of a head.
        let unit = (config.model.positions == .rotary ? 2 : 1) * config.model.numHeads
        addHalved("model.d_model", \.model.dModel, unit: unit)
        addHalved("model.d_ff", \.model.dFF)
        addHalved("model.context_length", \.model.contextLength)
        addHalved("model.encoder_layers", \.model.encoderLayers)
        addHalved("model.source_length", \.model.sourceLength)
        if config.data.tokenizer == .bytes && config.model.vocabSize >= 512 {
            addHalved("model.vocab_size", \.model.vocabSize)
        }
        return changes
    }

    /// Looks through some thousand numbers; 1 if none of them divides.
    private static func largestDivisor(of number: Int, upTo limit: Int) -> Int {
        (max(1, limit - 10_000)...limit).last { number % $0 == 0 } ?? 1
    }
}
