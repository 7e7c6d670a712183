import Configs
import Corpus
import Cost
import Interchange
import Kernels
import Ledger
import MessagePassing
import Transformer

/// A trained model for inference, with the configuration that it has in its run or that its `config.json` stands for.
package struct LoadedModel {
    package let config: RunConfig
    package let network: LanguageModel
    /// Of the checkpoint; 0 of a model from elsewhere.
    package let step: Int

    /// What a model is loaded for.
    enum Purpose {
        /// Passes of so many sequences, on so many ranks of this host at once.
        case passes(microBatch: Int, ranks: Int)
        case generation(InferenceShape)
        /// To be written elsewhere.
        case parameters
    }

    /// Loads a checkpoint of `run`.
    ///
    /// - Parameters:
    ///   - speaks: whether this process warns of damaged checkpoints.
    init(
        _ run: RunDirectory, _ checkpoint: CheckpointChoice, for purpose: Purpose, speaks: Bool = true
    ) throws {
        (config, network) = try Self.makeModel(
            try RunConfig.load(path: run.config), source: run.config, purpose)
        let state = try CheckpointLoader.chosen(checkpoint, of: run, speaks: speaks)
        if case .file = config.data.tokenizer {
            let path = PreparedCorpus.tokenizerPath(in: run.data)
            try state.requireSameTokenizer(Digest.text(ofFile: path), path)
        }
        try CheckpointLoader.loadModel(state, of: run, into: network)
        if case .passes = purpose { network.refreshWeights() }
        self.step = state.step
    }

    /// Loads the Hugging Face checkpoint in `folder`.
    init(pretrained folder: String, for purpose: Purpose) throws {
        (config, network) = try Self.makeModel(try RunConfig.fineTuning(folder), source: folder, purpose)
        try PretrainedModel.load(
            folder, config: config.model, layout: network.layout, into: network.parameters)
        if case .passes = purpose { network.refreshWeights() }
        step = 0
    }

    private static func makeModel(
        _ config: RunConfig, source: String, _ purpose: Purpose
    ) throws -> (RunConfig, LanguageModel) {
        var (config, tiles, threads) = (config, TileMode?.none, config.parallel.threadsPerRank)
        var activations: HalfFormat?
        let (bytes, ranks, microBatch): (Int, Int, Int)
        switch purpose {
        case .passes(let sequences, let count):
            let precision = try ProductPrecision(config)
            (config, tiles) = (precision.config, precision.tiles)
            activations = HalfFormat(config.precision.activations)
            precision.warning.map { reportToStandardError("lockstep: warning: \($0)") }
            (bytes, ranks) = (try Estimate.inferenceBytes(config, microBatch: sequences), count)
            microBatch = sequences
        case .generation(let shape):
            (bytes, ranks, microBatch) = (try InferenceFootprint(config.model, shape).arenas, 1, 1)
            threads = shape.threads
        case .parameters:
            let none = InferenceShape(sequences: 0, length: 0, threads: 0)
            (bytes, ranks, microBatch) = (try InferenceFootprint(config.model, none).parameters, 1, 1)
        }
        let machine = MachineFacts()
        try MemoryDemand(bytes: bytes, ranks: ranks, host: machine.host)
            .check(machine, remedy: "\(source) describes the model; load it on a machine with more memory")
        let network = try LanguageModel(
            config: config.model, microBatch: microBatch, purpose: purpose.ofLanguageModel,
            backend: OpenBLAS(), team: ThreadTeam(threads: threads), tiles: tiles,
            activations: activations)
        return (config, network)
    }
}

extension LoadedModel.Purpose {
    fileprivate var ofLanguageModel: LanguageModel.Purpose {
        if case .passes = self { .inference } else { .parameters }
    }
}
