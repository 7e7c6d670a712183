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

    private struct Probe {
        var layers: Int
        var width: Int
        var heads: Int
        var context: Int
        var vocabulary = 256
        var batch: Int
        var attention = ModelConfig.AttentionMode.recomputed
    }

    private static let probes = [
        Probe(layers: 2, width: 72, heads: 2, context: 72, batch: 8),
        Probe(layers: 2, width: 72, heads: 2, context: 72, batch: 32),
        Probe(layers: 6, width: 88, heads: 2, context: 136, batch: 6, attention: .stored),
        Probe(layers: 3, width: 136, heads: 4, context: 56, batch: 10),
        Probe(layers: 3, width: 136, heads: 4, context: 104, batch: 20),
        Probe(layers: 3, width: 208, heads: 4, context: 152, vocabulary: 320, batch: 6, attention: .stored),
        Probe(layers: 2, width: 424, heads: 8, context: 216, batch: 5),
        Probe(layers: 4, width: 296, heads: 4, context: 72, batch: 8),
        Probe(layers: 2, width: 168, heads: 4, context: 440, vocabulary: 384, batch: 4, attention: .stored),
        Probe(layers: 1, width: 216, heads: 3, context: 104, vocabulary: 24_000, batch: 5),
        Probe(layers: 2, width: 616, heads: 11, context: 136, vocabulary: 512, batch: 5),
    ]

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
        var measured: [StepSample.Seconds] = []
        var modelled: [Estimate] = []
        let rounds = 2
        for round in 0..<rounds {
            for (index, probe) in Self.probes.enumerated() {
                let config = config(of: probe, ranks: ranks.size)
                let seconds = try run(config, topology, on: ranks)
                if round == 0 {
                    measured.append(seconds)
                    modelled.append(try Estimate(config: config, over: topology, profile: alone))
                } else if seconds.total < measured[index].total {
                    // Something else may have slowed a round down; nothing speeds one up.
                    measured[index] = seconds
                }
                progress((Double(round) + Double(index + 1) / Double(Self.probes.count)) / Double(rounds))
            }
        }
        let overlap = ranks.size > 1 ? overlap(measured, modelled.map(\.time)) : nil
        var correction = correction(measured, modelled, overlap)
        if ranks.size > 1 {
            correction.sharding = try sharding(correction, overlap, alone, topology, on: ranks)
        }
        return (correction, overlap)
    }

    /// Measured over corrected reductions of steps whose optimizer is sharded. Collective.
    private func sharding(
        _ correction: Profile.PhaseCorrection, _ overlap: Profile.Overlap?, _ alone: Profile,
        _ topology: Topology, on ranks: borrowing Communicator
    ) throws -> Double {
        try Self.probes.filter { (256...512).contains($0.width) }.map { probe in
            var config = config(of: probe, ranks: ranks.size)
            config.parallel.optimizerSharding = true
            let seconds = try run(config, topology, on: ranks)
            let time = try Estimate(config: config, over: topology, profile: alone).time
            let expected =
                correction.reductionSeconds + correction.reduction * Self.reduction(time, overlap)
            return (seconds.reduceOverlapped + seconds.reduceExposed) / expected
        }.median
    }

    /// What became of the seconds of reduction that fell into backward.
    private func overlap(_ measured: [StepSample.Seconds], _ modelled: [Estimate.Time]) -> Profile.Overlap {
        let shares = zip(measured, modelled).compactMap { measured, modelled -> (Double, Double)? in
            guard let within = modelled.reduceOverlapped, let behind = modelled.reduce, within > behind / 10
            else { return nil }
            return (
                max(0, min(1, (within + behind - measured.reduceExposed) / within)),
                max(0, measured.reduceOverlapped / within)
            )
        }
        guard !shares.isEmpty else { return .init(progress: 0, cost: 0) }
        return .init(progress: shares.map(\.0).median, cost: shares.map(\.1).median)
    }

    private func correction(
        _ measured: [StepSample.Seconds], _ estimates: [Estimate], _ overlap: Profile.Overlap?
    ) -> Profile.PhaseCorrection {
        let modelled = estimates.map(\.time)
        func ratios(
            _ seconds: (StepSample.Seconds) -> Double, _ estimate: (Estimate.Time) -> Double?
        ) -> [Double] {
            zip(measured, modelled).map { measured, modelled in
                let expected = estimate(modelled) ?? 0
                return expected > 0 && seconds(measured) > 0 ? seconds(measured) / expected : 1
            }
        }
        var result = Profile.PhaseCorrection.none
        let (forward, backward) = (ratios(\.forward, \.forward), ratios(\.backward, \.backward))
        result.forward = forward.median
        result.backward = backward.median
        result.optimizer = ratios(\.optimizer, \.optimizer).median
        result.probes = Self.probes.indices.map {
            .init(
                width: Self.probes[$0].width, footprint: estimates[$0].memory.arenas, forward: forward[$0],
                backward: backward[$0])
        }
        let expected = modelled.map { Self.reduction($0, overlap) }
        let reductions = zip(measured, expected).compactMap { measured, expected in
            expected > 0
                ? (features: [1, expected], target: measured.reduceOverlapped + measured.reduceExposed) : nil
        }
        if !reductions.isEmpty {
            let fit = NonNegativeLeastSquares.fitRelative(reductions)
            (result.reductionSeconds, result.reduction) = (fit[0], fit[1])
        }
        result.wait = measured.map { $0.wait / ($0.forward + $0.backward) }.median
        result.scatter = measured.indices.map { index in
            scatter(of: index, measured[index], modelled[index], expected[index], result)
        }.quantile(0.9)
        return result
    }

    /// |Relative error| of a probe's step that is predicted from the other probes.
    private func scatter(
        of index: Int, _ measured: StepSample.Seconds, _ modelled: Estimate.Time, _ reduction: Double,
        _ correction: Profile.PhaseCorrection
    ) -> Double {
        var others = correction
        others.probes.remove(at: index)
        let probe = correction.probes[index]
        let factors = others.factors(width: probe.width, footprint: probe.footprint)
        let compute = factors.forward * (modelled.forward ?? 0) + factors.backward * (modelled.backward ?? 0)
        let reduction = correction.reductionSeconds + correction.reduction * reduction
        let optimizer = correction.optimizer * (modelled.optimizer ?? 0)
        let expected = compute * (1 + correction.wait) + reduction + optimizer
        return abs((measured.total - measured.data) / expected - 1)
    }

    /// What a reduction costs a step, of an estimate with an overlap of 1, when the overlap is `overlap`.
    private static func reduction(_ time: Estimate.Time, _ overlap: Profile.Overlap?) -> Double {
        guard let overlap, let within = time.reduceOverlapped, let behind = time.reduce else { return 0 }
        return behind + within * (1 - overlap.progress + overlap.cost)
    }

    private func config(of probe: Probe, ranks: Int) -> RunConfig {
        var model = ModelConfig(
            numLayers: probe.layers, dModel: probe.width, numHeads: probe.heads, dFF: 4 * probe.width,
            contextLength: probe.context, vocabSize: probe.vocabulary)
        model.attention = probe.attention
        var train = TrainConfig(
            steps: 6, globalBatch: probe.batch * ranks, optimizer: OptimizerConfig(learningRate: 1e-4))
        train.microBatch = .sequences(probe.batch)
        var config = RunConfig(name: "probe", model: model, data: DataConfig(path: corpus.path), train: train)
        config.parallel.threadsPerRank = team.count
        return config
    }

    /// Median seconds of each phase, the mean over the ranks.
    private func run(
        _ config: RunConfig, _ topology: Topology, on ranks: borrowing Communicator
    ) throws -> StepSample.Seconds {
        let batch = config.train.globalBatch / ranks.size
        let length = config.model.contextLength
        let decoder = try Decoder(
            config: config.model, microBatch: batch, purpose: .training, backend: backend, team: team)
        decoder.initialize(seed: 1)
        let buffers = try BatchBuffers(microBatch: batch, length: length)
        let source = BatchSource(
            shard: corpus, tokens: 0..<corpus.count, contextLength: length, order: .shuffled(seed: 1))
        let step = try TrainStep(
            config: config, decoder: decoder, samples: source, buffers: buffers, topology: topology)
        var samples: [StepSample.Seconds] = []
        for number in 1...config.train.steps {
            try ranks.barrier()
            var clock = PhaseClock()
            _ = try step.run(number, clock: &clock)
            let seconds = clock.finish()
            if number > 2 { samples.append(seconds) }
        }
        var result = StepSample.Seconds()
        for phase in Self.phases {
            result[keyPath: phase] = try mean(samples.map { $0[keyPath: phase] }.median, on: ranks)
        }
        return result
    }

    private static var phases: [WritableKeyPath<StepSample.Seconds, Double>] {
        [
            \.data, \.forward, \.backward, \.reduceOverlapped, \.wait, \.reduceExposed, \.optimizer, \.total,
        ]
    }
}
