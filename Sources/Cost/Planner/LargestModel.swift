import Configs

extension Plan {
    /// The largest model of the family of `config` that trains on `cluster` within the deadline of `goal`, with its plan.
    ///
    /// The family has heads of the same width, and depth and d_ff in proportion to d_model.
    ///
    /// - Returns: nil when not even the smallest one does.
    /// - Throws: `LockstepError`, as `Plan.init` does.
    public static func largest(
        like config: RunConfig, on cluster: ClusterConfig, _ goal: PlanGoal, profile: Profile,
        corpusTokens: Int? = nil
    ) throws -> Plan? {
        var best: Plan?
        func trains(heads: Int) throws -> Bool {
            guard let scaled = config.scaled(heads: heads) else { return false }
            let plan = try Plan(scaled, on: cluster, goal, profile: profile, corpusTokens: corpusTokens)
            guard plan.recommended != nil else { return false }
            if plan.parameters > best?.parameters ?? 0 { best = plan }
            return true
        }
        // Time and memory grow with the width, so that halving the distance finds the border.
        var (lower, upper) = (0, 1)
        while try trains(heads: upper) { (lower, upper) = (upper, 2 * upper) }
        while upper - lower > 1 {
            let middle = (lower + upper) / 2
            if try trains(heads: middle) { lower = middle } else { upper = middle }
        }
        return best
    }
}

extension RunConfig {
    /// The member of the family with `heads` heads; nil when it is beyond every machine.
    fileprivate func scaled(heads: Int) -> RunConfig? {
        let headWidth = model.dModel / model.numHeads
        let factor = Double(heads) / Double(model.numHeads)
        guard heads * headWidth <= 1 << 20 else { return nil }
        var config = self
        config.model.numHeads = heads
        // In proportion, as far as it divides the heads.
        let shares = max(1, Int((factor * Double(model.numKVHeads)).rounded()))
        config.model.numKVHeads = (1...shares).last { heads % $0 == 0 } ?? 1
        config.model.dModel = heads * headWidth
        config.model.numLayers = max(1, Int((factor * Double(model.numLayers)).rounded()))
        if model.encoderLayers > 0 {
            config.model.encoderLayers = max(1, Int((factor * Double(model.encoderLayers)).rounded()))
        }
        config.model.dFF = max(1, Int((factor * Double(model.dFF)).rounded()))
        return config
    }

    /// What makes `other` of this configuration's model, `key=value` each.
    public func modelChanges(to other: RunConfig) -> [String] {
        let (mine, theirs) = (model, other.model)
        return [
            ("num_layers", mine.numLayers, theirs.numLayers),
            ("encoder_layers", mine.encoderLayers, theirs.encoderLayers),
            ("d_model", mine.dModel, theirs.dModel),
            ("num_heads", mine.numHeads, theirs.numHeads),
            ("num_kv_heads", mine.numKVHeads, theirs.numKVHeads), ("d_ff", mine.dFF, theirs.dFF),
        ].filter { $0.1 != $0.2 }.map { "model.\($0.0)=\($0.2)" }
    }
}
