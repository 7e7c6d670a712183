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

    struct Probe {
        var layers: Int
        var width: Int
        var heads: Int
        var context: Int
        var vocabulary = 256
        var batch: Int
        var attention = ModelConfig.AttentionMode.recomputed

        /// Who shards an optimizer has gradients of some MiB.
        var shards: Bool { width > 400 }

        /// Steps that do not count before one that does: many lie between two samples of a training run's meter, after which
        /// caches hold nothing of the model.
        var stepsBefore: Int { isTiny ? 7 : isShort ? 1 : 0 }

        /// Over in some milliseconds.
        var isShort: Bool { width < 150 && vocabulary == 256 }

        /// Over in a millisecond or two.
        private var isTiny: Bool { isShort && layers * width * width * context * batch < 1 << 22 }

        /// Those that are over before a disturbance is are run more often.
        var isFrequent: Bool { width < 100 && vocabulary == 256 }
    }

    // Widths, heads and contexts are multiples of 16, as of models that people train: odd ones take up to a sixth longer.
    private static let probes = [
        Probe(layers: 1, width: 48, heads: 1, context: 48, batch: 1),
        Probe(layers: 2, width: 48, heads: 3, context: 48, batch: 3),
        Probe(layers: 3, width: 80, heads: 5, context: 48, batch: 1),
        Probe(layers: 2, width: 112, heads: 7, context: 48, batch: 2),
        Probe(layers: 2, width: 96, heads: 3, context: 80, batch: 8),
        Probe(layers: 7, width: 48, heads: 1, context: 48, batch: 15),
        Probe(layers: 5, width: 80, heads: 1, context: 80, batch: 12),
        Probe(layers: 6, width: 96, heads: 2, context: 144, batch: 5, attention: .stored),
        Probe(layers: 11, width: 96, heads: 3, context: 48, batch: 18),
        Probe(layers: 3, width: 144, heads: 3, context: 48, batch: 12),
        Probe(layers: 3, width: 112, heads: 1, context: 112, batch: 11),
        Probe(layers: 3, width: 240, heads: 5, context: 144, vocabulary: 320, batch: 5, attention: .stored),
        Probe(layers: 2, width: 432, heads: 9, context: 144, batch: 5),
        Probe(layers: 4, width: 288, heads: 6, context: 80, batch: 8),
        Probe(layers: 2, width: 160, heads: 5, context: 432, vocabulary: 384, batch: 4, attention: .stored),
        Probe(layers: 1, width: 80, heads: 1, context: 80, vocabulary: 40_000, batch: 6),
        Probe(layers: 1, width: 240, heads: 5, context: 112, vocabulary: 44_000, batch: 3),
        Probe(layers: 2, width: 624, heads: 13, context: 80, vocabulary: 512, batch: 5),
    ]
    /// Beside them where ranks of a host reduce: more gradients than fit caches. A network does not care.
    private static let large = Probe(layers: 2, width: 960, heads: 20, context: 32, batch: 2)

    /// The corrections that make `layout` meet the probes. Collective.
    func measure(
        _ layout: Profile.Layout, machine: Profile.Machine, topology: Topology,
        on ranks: borrowing Communicator,
        progress: (Double) -> Void
    ) throws -> (phases: Profile.PhaseCorrection, overlap: Profile.Overlap?) {
        let alone = Profile(
            created: "", machine: machine, layouts: [layout], packing: .init(blockRows: 1, panelDepth: 1))
        let rounds = 4
        let isOneHost = topology.hosts == 1 && ranks.size > 1
        let probes = Self.probes + (isOneHost ? [Self.large] : [])
        var steps = [[Comparison]](repeating: [], count: probes.count)
        // Reductions differ more from each other than what a round slows down: those of all rounds count.
        var (plain, sharded): ([Comparison], [Comparison]) = ([], [])
        for round in 0..<rounds {
            for (index, probe) in probes.enumerated() {
                var config = try config(of: probe, ranks: ranks.size)
                if probe.isFrequent || round % 2 == 0 {
                    let found = try compare(probe, config, alone, topology, on: ranks)
                    plain.append(Comparison(found))
                    steps[index] += found
                }
                // They are few.
                if ranks.size > 1, probe.shards {
                    config.parallel.optimizerSharding = true
                    sharded.append(Comparison(try compare(probe, config, alone, topology, on: ranks)))
                }
                progress((Double(round) + Double(index + 1) / Double(probes.count)) / Double(rounds))
            }
        }
        guard ranks.size > 1 else { return (correction(steps.map(Comparison.init), [], nil), nil) }
        let overlap = isOneHost ? nil : overlap(plain)
        var comparisons = steps.map(Comparison.init)
        if let overlap {
            comparisons = comparisons.map { $0.overlapping(overlap) }
            (plain, sharded) = (
                plain.map { $0.overlapping(overlap) }, sharded.map { $0.overlapping(overlap) }
            )
        }
        var correction = correction(comparisons, plain, overlap)
        correction.exchanges =
            exchanges(plain, isSharded: false, overlap, correction)
            + exchanges(sharded, isSharded: true, overlap, correction)
        return (correction, overlap)
    }

    /// Runs a few steps, and compares each. Collective.
    private func compare(
        _ probe: Probe, _ config: RunConfig, _ alone: Profile, _ topology: Topology,
        on ranks: borrowing Communicator
    ) throws -> [Comparison] {
        let steps = try run(config, stepsBefore: probe.stepsBefore, topology, on: ranks)
        // With a cost of 1 the model says how much of a reduction falls into backward.
        let estimates = try (topology.hosts > 1 ? Comparison.progress : [0]).map { progress in
            var profile = alone
            if topology.hosts > 1 { profile.layouts[0].overlap = .init(progress: progress, cost: 1) }
            return try Estimate(config: config, over: topology, profile: profile)
        }
        var sampled = StepSpeeds()
        for (index, step) in steps.enumerated() { sampled.add(index, step.speeds) }
        var comparisons: [Comparison] = []
        sampled.forEach { index, speeds in
            let modelled = estimates.map { Phases(meanOf: $0.atSpeed(speeds).map(\.time)) }
            comparisons.append(
                Comparison(
                    probe, estimates[0],
                    reductions: modelled.map { .init(overlapped: $0.reduceOverlapped, exposed: $0.reduce) },
                    measured: steps[index].phases, modelled: modelled[0]))
        }
        return comparisons
    }

    private func config(of probe: Probe, ranks: Int) throws -> RunConfig {
        var model = ModelConfig(
            numLayers: probe.layers, dModel: probe.width, numHeads: probe.heads, dFF: 4 * probe.width,
            contextLength: probe.context, vocabSize: probe.vocabulary)
        model.attention = probe.attention
        let ofSequence = 6 * Double(try ParameterCount(model).total * probe.context) / speed.flopsPerSecond
        let batch = min(probe.batch, max(2, Int(Self.longestStep / ofSequence)))
        // The first does not count. Short ones are cheap, and what is short varies more.
        // Long reductions are few, and vary most. Of short steps one in two counts, or fewer.
        let least = ranks > 1 && probe.shards ? 4 : 3
        let steps =
            probe.isShort
            ? 3 * (1 + probe.stepsBefore)
            : min(5, max(least, 1 + Int(Self.longestStep / (ofSequence * Double(batch)))))
        var train = TrainConfig(
            steps: steps, globalBatch: batch * ranks, optimizer: OptimizerConfig(learningRate: 1e-4))
        train.microBatch = .sequences(batch)
        var config = RunConfig(name: "probe", model: model, data: DataConfig(path: corpus.path), train: train)
        config.parallel.threadsPerRank = team.count
        return config
    }

    /// Of each step, seconds of each phase, the mean over the ranks, and the speed of every rank around it.
    ///
    /// - Parameter stepsBefore: that do not count, between the meter's sample and each that does.
    private func run(
        _ config: RunConfig, stepsBefore: Int, _ topology: Topology, on ranks: borrowing Communicator
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
        try meter.sampleTogether()
        for number in 1...config.train.steps {
            let before = meter.last
            try ranks.barrier()
            var clock = PhaseClock()
            _ = try step.run(number, clock: &clock)
            let seconds = clock.finish()
            guard number.isMultiple(of: stepsBefore + 1) else { continue }
            try meter.sampleTogether()
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
