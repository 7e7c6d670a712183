import Configs

extension Estimate {
    /// Seconds of a step, by phase; null until the machine has been calibrated.
    public struct Time: Codable, Sendable, Equatable {
        @NullWhenUnknown public private(set) var forward: Double?
        @NullWhenUnknown public private(set) var backward: Double?
        /// For slower ranks, at the end of backward; the mean over the ranks.
        @NullWhenUnknown public private(set) var wait: Double?
        /// Reduction that is left when backward has ended.
        @NullWhenUnknown public private(set) var reduce: Double?
        /// Time that backward gives to reductions under way.
        @NullWhenUnknown public private(set) var reduceOverlapped: Double?
        @NullWhenUnknown public private(set) var optimizer: Double?
        @NullWhenUnknown public private(set) var step: Double?
        /// Of the validation split, once.
        @NullWhenUnknown public private(set) var evaluation: Double?
        @NullWhenUnknown public private(set) var checkpoint: Double?
        /// Relative error of `step` that nine of ten runs are expected to stay within.
        @NullWhenUnknown public private(set) var uncertainty: Double?
        /// What limits each phase, for a comparison at the calibrated speed.
        public private(set) var limits: Limits?

        /// All that the reduction costs the step.
        public var reduction: Double? { reduce.flatMap { reduce in reduceOverlapped.map { $0 + reduce } } }

        /// Nothing is known.
        init() {}

        enum CodingKeys: String, CodingKey {
            case forward, backward, reduce, wait, optimizer, step, evaluation, checkpoint, uncertainty, limits
            case reduceOverlapped = "reduce_overlapped"
        }

        /// The calculated phases split by what limits them.
        public struct Limits: Codable, Sendable, Equatable {
            public var forward: WorkSeconds
            public var backward: WorkSeconds
            public var optimizer: WorkSeconds
            /// What ranks of a host exchange; nil where a network limits that, and of one rank.
            public var exchange: HostExchange?
            /// Seconds that ranks wait for each other even if all are equally fast.
            public var jitter: Double
            /// The speed that they hold at.
            public var reference: ReferenceSpeed

            enum CodingKeys: String, CodingKey {
                case forward, backward, optimizer, exchange, jitter, reference
            }
        }
    }
}

extension Estimate.Time {
    /// - Parameters:
    ///   - updated: parameters that the rank updates.
    ///   - footprint: bytes that a step touches.
    ///   - validationSamples: in the whole split; 0 when unknown.
    ///   - cluster: that the run is planned for; nil for hosts as they were calibrated.
    init(
        _ config: RunConfig, _ profile: Profile, _ placement: Placement, microBatch: Int,
        parameters count: ParameterCount,
        updated: Int, footprint: Int, validationSamples: Int, cluster: PlannedCluster?
    ) {
        let parameters = count.total
        let sequencesPerRank = config.train.globalBatch / placement.ranks
        func workload() -> Workload {
            Workload(
                config, microBatch: microBatch, sequencesPerRank: sequencesPerRank, parameters: count,
                updated: updated)
        }
        guard
            let (parts, isMeasured) = cluster.map({
                $0.phaseSeconds(
                    config, placement, microBatch: microBatch, parameters: count, updated: updated,
                    footprint: footprint)
            }) ?? profile.phaseSeconds(workload(), placement, footprint: footprint),
            let layout = profile.layout(nearest: placement)
        else { return }
        let passes = Double(max(1, sequencesPerRank / microBatch))
        let forward = passes * parts.forward
        let backward =
            passes * (parts.head + parts.layers(of: config.model) + parts.rest) + parts.clearing
        let timeline = BackwardTimeline(parts, parameters: count)

        self.forward = forward.total
        self.backward = backward.total
        optimizer = parts.optimizer.total
        if let reduction = profile.reduction(
            config, placement, network: cluster?.network, parameters: parameters, during: timeline)
        {
            add(
                reduction, config, placement, layout, parameters: parameters, footprint: footprint,
                isPlanned: cluster != nil, compute: forward.total + backward.total)
        }
        if validationSamples > 0 {
            let samples = (validationSamples + placement.ranks - 1) / placement.ranks
            let pass = parts.forward + parts.evaluationHead
            evaluation = Double((samples + microBatch - 1) / microBatch) * pass.total
        }
        // Of all ranks together, as they share the disk: parameters and the optimizer's state.
        let saved = 4 * Double(parameters) * Double(1 + config.train.optimizer.stateElements)
        checkpoint = layout.checkpoint.map { $0.seconds + $0.secondsPerByte * saved }
        // Whole steps have many turns.
        let spread = layout.reference.isOfTurns ? 0 : layout.reference.productSpread
        let scatter = layout.phases.scatter
        let guess = isMeasured ? 0 : 0.15
        uncertainty = (scatter * scatter + spread * spread + guess * guess).squareRoot()
        limits = Limits(
            forward: forward, backward: backward, optimizer: parts.optimizer,
            exchange: placement.hosts == 1 && placement.ranks > 1
                ? .init(bytes: 4 * parameters, isSharded: config.parallel.optimizerSharding) : nil,
            jitter: placement.ranks > 1 ? layout.phases.jitter * (forward.total + backward.total) : 0,
            reference: layout.reference)
    }

    /// Adds what ranks wait and reduce to `compute` seconds of forward and backward; the step is then known.
    private mutating func add(
        _ reduction: (overlapped: Double, exposed: Double), _ config: RunConfig, _ placement: Placement,
        _ layout: Profile.Layout, parameters: Int, footprint: Int, isPlanned: Bool, compute: Double
    ) {
        // The corrections are of ranks on as many hosts as were calibrated.
        let isAlike = layout.hosts == placement.hosts && !isPlanned
        let correction =
            isAlike
            ? layout.phases.reductionFactor(
                bytes: 4 * parameters, footprint: footprint,
                isSharded: config.parallel.optimizerSharding) : 1
        let exposed = correction * reduction.exposed
        let overlapped = correction * reduction.overlapped
        let wait = placement.ranks > 1 ? layout.phases.wait * compute : 0
        reduce = exposed
        reduceOverlapped = overlapped
        self.wait = wait
        step = compute + wait + exposed + overlapped + (optimizer ?? 0)
    }
}

extension Estimate.Time {
    /// The same work of every rank when the ranks' reference products, kernels and copies run at `speeds`:
    /// what is like each goes with it, the fast wait for the slow, and a reduction, which they share, goes with the mean
    /// over the ranks. Checkpoints stay as they are.
    ///
    /// - Parameter speeds: by rank.
    func atSpeed(_ speeds: [ReferenceSpeed]) -> [Estimate.Time] {
        guard let limits, let forward, forward > 0, step != nil else { return [] }
        let drifts = speeds.map { ReferenceDrift(of: $0, from: limits.reference) }
        func compute(_ drift: ReferenceDrift) -> Double {
            drift.seconds(limits.forward) + drift.seconds(limits.backward)
        }
        let slowest = drifts.map(compute).max() ?? 0
        var reduce = reduce
        if let exchange = limits.exchange {
            let slowdowns = drifts.map {
                1 / $0.exchanges(isSharded: exchange.isSharded, ofCaches: exchange.cachedShare)
            }
            reduce = reduce.map { $0 * slowdowns.reduce(0, +) / Double(max(1, drifts.count)) }
        }
        let reduction = (reduce ?? 0) + (reduceOverlapped ?? 0)
        return drifts.map { own in
            let waited = slowest - compute(own) + limits.jitter
            var result = self
            result.forward = own.seconds(limits.forward)
            result.backward = own.seconds(limits.backward)
            result.optimizer = own.seconds(limits.optimizer)
            result.wait = waited
            result.reduce = reduce
            result.step = compute(own) + waited + reduction + own.seconds(limits.optimizer)
            // An evaluation is made of what forward is made of.
            result.evaluation = evaluation.map { $0 * own.seconds(limits.forward) / forward }
            return result
        }
    }
}
