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
    let threads: Int

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
        Probe(layers: 2, width: 104, heads: 2, context: 88, batch: 12),
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
    ) throws -> Profile.PhaseCorrection {
        var measured: [[Double]] = []
        var modelled: [[Double]] = []
        for (index, probe) in Self.probes.enumerated() {
            let config = config(of: probe, ranks: ranks.size)
            measured.append(try run(config, topology, on: ranks))
            modelled.append(
                try Estimate.uncorrectedSeconds(config, on: layout, machine: machine, ranks: ranks.size))
            progress(Double(index + 1) / Double(Self.probes.count))
        }
        // Each phase's geometric mean of measured over modelled time.
        let factors = (0..<3).map { phase in
            exp(
                zip(measured, modelled).map { log($0[phase] / $1[phase]) }.reduce(0, +)
                    / Double(measured.count))
        }
        let errors = measured.indices.map { probe -> Double in
            let predicted = (0..<3).reduce(0.0) { $0 + modelled[probe][$1] * factors[$1] }
            return abs(measured[probe].reduce(0, +) / predicted - 1)
        }
        return .init(
            forward: factors[0], backward: factors[1], optimizer: factors[2], scatter: errors.quantile(0.9))
    }

    private func config(of probe: Probe, ranks: Int) -> RunConfig {
        var model = ModelConfig(
            numLayers: probe.layers, dModel: probe.width, numHeads: probe.heads, dFF: 4 * probe.width,
            contextLength: probe.context, vocabSize: probe.vocabulary)
        model.attention = probe.attention
        var train = TrainConfig(
            steps: 8, globalBatch: probe.batch * ranks, optimizer: OptimizerConfig(learningRate: 1e-4))
        train.microBatch = .sequences(probe.batch)
        var config = RunConfig(name: "probe", model: model, data: DataConfig(path: corpus.path), train: train)
        config.parallel.threadsPerRank = threads
        config.parallel.overlap = false
        return config
    }

    /// Median seconds of forward, backward and optimizer, the mean over the ranks.
    private func run(
        _ config: RunConfig, _ topology: Topology, on ranks: borrowing Communicator
    ) throws -> [Double] {
        let batch = config.train.globalBatch / ranks.size
        let length = config.model.contextLength
        let decoder = try Decoder(
            config: config.model, microBatch: batch, purpose: .training, backend: backend)
        decoder.initialize(seed: 1)
        let buffers = try BatchBuffers(microBatch: batch, length: length)
        let samples = BatchSource(
            shard: corpus, tokens: 0..<corpus.count, contextLength: length, order: .shuffled(seed: 1))
        let step = try TrainStep(
            config: config, decoder: decoder, samples: samples, buffers: buffers, topology: topology)
        var phases: [[Double]] = [[], [], []]
        for number in 1...config.train.steps {
            try ranks.barrier()
            var clock = PhaseClock()
            _ = try step.run(number, clock: &clock)
            let seconds = clock.finish()
            guard number > 2 else { continue }
            for (index, value) in [seconds.forward, seconds.backward, seconds.optimizer].enumerated() {
                phases[index].append(value)
            }
        }
        var result: [Double] = []
        for phase in phases { result.append(try mean(phase.median, on: ranks)) }
        return result
    }
}
