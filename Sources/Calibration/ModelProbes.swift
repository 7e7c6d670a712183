import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Training
import Transformer

/// Whole steps of small models, to find what the sum of kernels and products leaves out. The models are of sizes that
/// nobody trains, so that no prediction is of a model that took part in its own calibration.
struct ModelProbes {
    let corpus: TokenShard
    let backend: any MatMulBackend
    let team: ThreadTeam
    /// Takes samples between the steps.
    let meter: ReferenceMeter
    /// How fast the ranks are, the same on all of them.
    let speed: ReferenceSpeed

    /// Seconds of a step: batches are made smaller until it takes no longer, so that no machine takes long.
    private static let longestStep = 0.1

    private struct Probe {
        var layers: Int
        var width: Int
        var heads: Int
        var context: Int
        var vocabulary = 256
        var batch: Int
        var attention = ModelConfig.AttentionMode.recomputed

        /// Who shards an optimizer has gradients of some MiB.
        var shards: Bool { width > 400 }

        /// Those that are over before a disturbance is are run more often.
        var isShort: Bool { width < 100 && vocabulary == 256 }
    }

    private static let probes = [
        Probe(layers: 2, width: 80, heads: 2, context: 80, batch: 8),
        Probe(layers: 7, width: 48, heads: 2, context: 48, batch: 15),
        Probe(layers: 5, width: 80, heads: 2, context: 72, batch: 12),
        Probe(layers: 6, width: 80, heads: 2, context: 136, batch: 6, attention: .stored),
        Probe(layers: 3, width: 144, heads: 4, context: 56, batch: 10),
        Probe(layers: 3, width: 112, heads: 4, context: 104, batch: 12),
        Probe(layers: 3, width: 208, heads: 4, context: 152, vocabulary: 320, batch: 6, attention: .stored),
        Probe(layers: 2, width: 432, heads: 8, context: 152, batch: 5),
        Probe(layers: 4, width: 304, heads: 4, context: 72, batch: 8),
        Probe(layers: 2, width: 176, heads: 4, context: 440, vocabulary: 384, batch: 4, attention: .stored),
        Probe(layers: 1, width: 80, heads: 2, context: 72, vocabulary: 40_000, batch: 6),
        Probe(layers: 1, width: 224, heads: 3, context: 104, vocabulary: 24_000, batch: 5),
        Probe(layers: 2, width: 624, heads: 12, context: 88, vocabulary: 512, batch: 5),
    ]
    /// Beside them where there are reductions: more gradients than fit caches.
    private static let large = Probe(layers: 2, width: 976, heads: 8, context: 24, batch: 2)

    /// The phases of a probe's step, the mean over the ranks.
    private struct Phases {
        var forward = 0.0
        var backward = 0.0
        var wait = 0.0
        var reduceOverlapped = 0.0
        var reduce = 0.0
        var optimizer = 0.0
        var step: Double { forward + backward + wait + reduceOverlapped + reduce + optimizer }

        static var all: [WritableKeyPath<Phases, Double>] {
            [\.forward, \.backward, \.wait, \.reduceOverlapped, \.reduce, \.optimizer]
        }
    }

    /// What was measured, beside what the sum of products and kernels says of it at the speed that the ranks then had.
    private struct Comparison {
        var probe: Probe
        var footprint: Int
        var gradientBytes: Int
        var productsShareOfForward: Double
        var productsShareOfBackward: Double
        var measured: Phases
        var modelled: Phases

        /// Of all `steps` of a probe: the middle of what each phase took, and of its ratio to what the model says of the same
        /// step, so that a speed that changes from step to step plays no part.
        init(_ steps: [Comparison]) {
            self = steps[0]
            for phase in Phases.all {
                let ratios = steps.compactMap { step -> Double? in
                    let (measured, modelled) = (step.measured[keyPath: phase], step.modelled[keyPath: phase])
                    return measured > 0 && modelled > 0 ? measured / modelled : nil
                }
                measured[keyPath: phase] = steps.map { $0.measured[keyPath: phase] }.median
                modelled[keyPath: phase] =
                    ratios.count == steps.count
                    ? measured[keyPath: phase] / ratios.median
                    : steps.map { $0.modelled[keyPath: phase] }.median
            }
        }

        init(_ probe: Probe, _ estimate: Estimate, measured: Phases, modelled: Phases) {
            self.probe = probe
            footprint = estimate.memory.arenas
            gradientBytes = estimate.memory.gradients
            productsShareOfForward = estimate.time.limits?.forward.productsShare ?? 0
            productsShareOfBackward = estimate.time.limits?.backward.productsShare ?? 0
            self.measured = measured
            self.modelled = modelled
        }
    }

    /// The corrections that make `layout` meet the probes. Collective.
    func measure(
        _ layout: Profile.Layout, machine: Profile.Machine, topology: Topology,
        on ranks: borrowing Communicator,
        progress: (Double) -> Void
    ) throws -> (phases: Profile.PhaseCorrection, overlap: Profile.Overlap?) {
        // With an overlap of 1 the model says how much of a reduction falls into backward.
        var layout = layout
        layout.overlap = .init(progress: 1, cost: 1)
        let alone = Profile(
            created: "", machine: machine, layouts: [layout], packing: .init(blockRows: 1, panelDepth: 1))
        let rounds = 4
        let probes = Self.probes + (ranks.size > 1 ? [Self.large] : [])
        var steps = [[Comparison]](repeating: [], count: probes.count)
        // Reductions differ more from each other than what a round slows down: those of all rounds count.
        var (plain, sharded): ([Comparison], [Comparison]) = ([], [])
        for round in 0..<rounds {
            for (index, probe) in probes.enumerated() where probe.isShort || round % 2 == 0 {
                var config = try config(of: probe, ranks: ranks.size)
                let found = try compare(probe, config, alone, topology, on: ranks)
                plain.append(Comparison(found))
                steps[index] += found
                if ranks.size > 1, probe.shards {
                    config.parallel.optimizerSharding = true
                    sharded.append(Comparison(try compare(probe, config, alone, topology, on: ranks)))
                }
                progress((Double(round) + Double(index + 1) / Double(probes.count)) / Double(rounds))
            }
        }
        let comparisons = steps.map(Comparison.init)
        let overlap = ranks.size > 1 ? overlap(plain) : nil
        var correction = correction(comparisons, plain, overlap)
        if ranks.size > 1 {
            correction.exchanges =
                exchanges(plain, isSharded: false, overlap, correction)
                + exchanges(sharded, isSharded: true, overlap, correction)
        }
        return (correction, overlap)
    }

    /// What `correction` leaves of the errors of some probes' reductions.
    private func exchanges(
        _ pairs: [Comparison], isSharded: Bool, _ overlap: Profile.Overlap?,
        _ correction: Profile.PhaseCorrection
    ) -> [Profile.PhaseCorrection.Exchange] {
        pairs.compactMap { pair in
            let measured = pair.measured.reduceOverlapped + pair.measured.reduce
            let expected =
                correction.reductionSeconds + correction.reduction * Self.reduction(pair.modelled, overlap)
            guard measured > 0, expected > 0 else { return nil }
            return .init(
                bytes: pair.gradientBytes, isSharded: isSharded,
                factor: min(4, max(0.25, measured / expected)))
        }
    }

    /// Runs a few steps, and compares each. Collective.
    private func compare(
        _ probe: Probe, _ config: RunConfig, _ alone: Profile, _ topology: Topology,
        on ranks: borrowing Communicator
    ) throws -> [Comparison] {
        let steps = try run(config, topology, on: ranks)
        let estimate = try Estimate(config: config, over: topology, profile: alone)
        var sampled = StepSpeeds()
        for (index, step) in steps.enumerated() { sampled.add(index, step.speeds) }
        var comparisons: [Comparison] = []
        sampled.forEach { index, speeds in
            var modelled = Phases()
            for time in estimate.atSpeed(speeds).map(\.time) {
                let share = 1 / Double(speeds.count)
                modelled.forward += share * (time.forward ?? 0)
                modelled.backward += share * (time.backward ?? 0)
                modelled.wait += share * (time.wait ?? 0)
                modelled.reduceOverlapped += share * (time.reduceOverlapped ?? 0)
                modelled.reduce += share * (time.reduce ?? 0)
                modelled.optimizer += share * (time.optimizer ?? 0)
            }
            comparisons.append(
                Comparison(probe, estimate, measured: steps[index].phases, modelled: modelled))
        }
        return comparisons
    }

    /// What became of the seconds of reduction that fell into backward: of all probes together, so that long ones count
    /// for more.
    private func overlap(_ comparisons: [Comparison]) -> Profile.Overlap {
        let overlapping = comparisons.filter { $0.modelled.reduceOverlapped > $0.modelled.reduce / 10 }
        func sum(_ seconds: (Comparison) -> Double) -> Double { overlapping.reduce(0) { $0 + seconds($1) } }
        let within = sum { $0.modelled.reduceOverlapped }
        guard within > 0 else { return .init(progress: 0, cost: 0) }
        let hidden = within + sum { $0.modelled.reduce - $0.measured.reduce }
        return .init(
            progress: max(0, min(1, hidden / within)), cost: sum { $0.measured.reduceOverlapped } / within)
    }

    private func correction(
        _ comparisons: [Comparison], _ reductions: [Comparison], _ overlap: Profile.Overlap?
    ) -> Profile.PhaseCorrection {
        func ratio(_ pair: Comparison, _ phase: KeyPath<Phases, Double>) -> Double {
            let (measured, modelled) = (pair.measured[keyPath: phase], pair.modelled[keyPath: phase])
            return measured > 0 && modelled > 0 ? measured / modelled : 1
        }
        var result = Profile.PhaseCorrection.none
        let forward = comparisons.map { (share: $0.productsShareOfForward, ratio: ratio($0, \.forward)) }
        let backward = comparisons.map { (share: $0.productsShareOfBackward, ratio: ratio($0, \.backward)) }
        result.forward = .init(fitting: forward)
        result.backward = .init(fitting: backward)
        result.optimizer = comparisons.map { ratio($0, \.optimizer) }.median
        result.probes = comparisons.indices.map {
            .init(
                width: comparisons[$0].probe.width, footprint: comparisons[$0].footprint,
                forward: forward[$0].ratio / result.forward.mean(share: forward[$0].share),
                backward: backward[$0].ratio / result.backward.mean(share: backward[$0].share))
        }
        let sums = reductions.compactMap { pair in
            let expected = Self.reduction(pair.modelled, overlap)
            return expected > 0
                ? (features: [1, expected], target: pair.measured.reduceOverlapped + pair.measured.reduce)
                : nil
        }
        if !sums.isEmpty {
            let fit = NonNegativeLeastSquares.fitRelative(sums)
            (result.reductionSeconds, result.reduction) = (fit[0], fit[1])
        }
        func share(_ seconds: (Comparison) -> Double) -> Double {
            comparisons.map { seconds($0) / ($0.measured.forward + $0.measured.backward) }.median
        }
        result.wait = share { $0.measured.wait }
        result.jitter = max(0, share { $0.measured.wait - $0.modelled.wait })
        result.scatter = comparisons.indices.map { scatter(of: $0, comparisons, overlap, result) }.quantile(
            0.9)
        return result
    }

    /// |Relative error| of a probe's step that is predicted from the other probes.
    private func scatter(
        of index: Int, _ comparisons: [Comparison], _ overlap: Profile.Overlap?,
        _ correction: Profile.PhaseCorrection
    ) -> Double {
        var others = correction
        others.probes.remove(at: index)
        let probe = correction.probes[index]
        let (measured, modelled) = (comparisons[index].measured, comparisons[index].modelled)
        let factors = others.factors(width: probe.width, footprint: probe.footprint)
        let compute =
            factors.forward.mean(share: comparisons[index].productsShareOfForward) * modelled.forward
            + factors.backward.mean(share: comparisons[index].productsShareOfBackward) * modelled.backward
        let reduction =
            correction.reductionSeconds + correction.reduction * Self.reduction(modelled, overlap)
        let optimizer = correction.optimizer * modelled.optimizer
        let expected = compute * (1 + correction.jitter) + modelled.wait + reduction + optimizer
        return abs(measured.step / expected - 1)
    }

    /// What a reduction costs a step, of an estimate with an overlap of 1, when the overlap is `overlap`.
    private static func reduction(_ time: Phases, _ overlap: Profile.Overlap?) -> Double {
        guard let overlap else { return 0 }
        return time.reduce + time.reduceOverlapped * (1 - overlap.progress + overlap.cost)
    }

    private func config(of probe: Probe, ranks: Int) throws -> RunConfig {
        var model = ModelConfig(
            numLayers: probe.layers, dModel: probe.width, numHeads: probe.heads, dFF: 4 * probe.width,
            contextLength: probe.context, vocabSize: probe.vocabulary)
        model.attention = probe.attention
        let ofSequence = 6 * Double(try ParameterCount(model).total * probe.context) / speed.flopsPerSecond
        let batch = min(probe.batch, max(2, Int(Self.longestStep / ofSequence)))
        // The first does not count. Short ones are cheap, and what is short varies more.
        // Long reductions are few, and vary most.
        let least = ranks > 1 && probe.shards ? 4 : 3
        let steps = min(5, max(least, 1 + Int(Self.longestStep / (ofSequence * Double(batch)))))
        var train = TrainConfig(
            steps: steps, globalBatch: batch * ranks, optimizer: OptimizerConfig(learningRate: 1e-4))
        train.microBatch = .sequences(batch)
        var config = RunConfig(name: "probe", model: model, data: DataConfig(path: corpus.path), train: train)
        config.parallel.threadsPerRank = team.count
        return config
    }

    /// Of each step, seconds of each phase, the mean over the ranks, and the speed of every rank around it.
    private func run(
        _ config: RunConfig, _ topology: Topology, on ranks: borrowing Communicator
    ) throws -> [(phases: Phases, speeds: [ReferenceSpeed])] {
        let batch = config.train.globalBatch / ranks.size
        let length = config.model.contextLength
        let network = try LanguageModel(
            config: config.model, microBatch: batch, purpose: .training, backend: backend,
            isShared: ranks.size > 1, team: team)
        network.initialize(seed: 1)
        let buffers = try BatchBuffers(config, microBatch: batch)
        let source = BatchSource(
            shard: corpus, tokens: 0..<corpus.count, contextLength: length, order: .shuffled(seed: 1))
        let step = try TrainStep(
            config: config, network: network, samples: source, buffers: buffers, topology: topology)
        var steps: [(phases: Phases, speeds: [ReferenceSpeed])] = []
        meter.sample()
        for number in 1...config.train.steps {
            let before = meter.last
            try ranks.barrier()
            var clock = PhaseClock()
            _ = try step.run(number, clock: &clock)
            let seconds = clock.finish()
            meter.sample()
            guard number > 1, let before else { continue }
            var phases = Phases()
            phases.forward = seconds.forward
            phases.backward = seconds.backward
            phases.wait = seconds.wait
            phases.reduceOverlapped = seconds.reduceOverlapped
            phases.reduce = seconds.reduceExposed
            phases.optimizer = seconds.optimizer
            for phase in Phases.all { phases[keyPath: phase] = try mean(phases[keyPath: phase], on: ranks) }
            steps.append((phases, try meter.speeds(since: before, on: ranks)))
        }
        return steps
    }
}
