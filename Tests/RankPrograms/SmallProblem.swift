import Configs
import Corpus
import Foundation
import Kernels
import Training
import Transformer

/// A small model and its corpus, in a folder of this rank that is gone at the end.
final class SmallProblem {
    private(set) var config: RunConfig
    private let folder: String

    /// - Parameter vocabSize: at least 256; from 5,300 on the gradients fill more than one bucket.
    ///   With `pairs` it is an encoder and a decoder, which learn to write backwards.
    init(vocabSize: Int, pairs: Bool = false) throws {
        folder = NSTemporaryDirectory() + "lockstep-small-\(getpid())\(pairs ? "-pairs" : "")"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let text = "\(folder)/text.txt"
        try String(repeating: "to be or not to be, that is the question. ", count: 200)
            .write(toFile: text, atomically: true, encoding: .utf8)
        var model = ModelConfig(
            numLayers: 2, dModel: 48, numHeads: 3, dFF: 80, contextLength: 24, vocabSize: vocabSize)
        model.dropout = 0.1
        var data = DataConfig(path: text)
        if pairs {
            (model.family, model.encoderLayers, model.sourceLength) = (.encoderDecoder, 1, 17)
            data = DataConfig(path: "")
            data.task = .reverse
            data.generated.samples = 500
        }
        data.validationFraction = 0.1
        config = RunConfig(
            name: "small", model: model, data: data,
            train: TrainConfig(
                steps: 6, globalBatch: 48, optimizer: OptimizerConfig(name: .adamw, learningRate: 1e-3)))
        config.train.microBatch = .sequences(2)
        config.train.optimizer.weightDecay = 0.1
        config.train.labelSmoothing = pairs ? 0.1 : 0
        config.parallel.bucketMib = .mebibytes(1)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    /// A rank's part in training `config`, which is this problem's with other settings.
    ///
    /// - Parameter tiles: how products are done in tiles; nil when in fp32.
    func step(
        _ config: RunConfig, tiles: TileMode? = nil, over topology: Topology
    ) throws -> (step: TrainStep, network: LanguageModel) {
        let model = config.model
        try PreparedCorpus.prepare(
            data: config.data, vocabSize: model.vocabSize, contextLength: model.contextLength,
            sourceLength: model.sourceLength, directory: folder)
        let corpus = try PreparedCorpus.open(
            data: config.data, contextLength: model.contextLength, sourceLength: model.sourceLength,
            seed: 1, directory: folder)
        let network = try LanguageModel(
            config: model, microBatch: 2, purpose: .training, backend: OpenBLAS(),
            isShared: topology.ranks > 1, team: ThreadTeam(threads: config.parallel.threadsPerRank),
            tiles: tiles, activations: HalfFormat(config.precision.activations))
        network.initialize(seed: 1)
        let step = try TrainStep(
            config: config, network: network, samples: corpus.train,
            buffers: BatchBuffers(config, microBatch: 2), topology: topology)
        return (step, network)
    }
}
