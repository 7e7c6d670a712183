import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Training
import Transformer

/// What a step took in one precision.
struct StepTiming: Encodable {
    /// Medians over the steps; of the slowest rank.
    struct Seconds: Encodable {
        var step = 0.0
        var forward = 0.0
        var backward = 0.0
        /// With what backward gave to it, and the wait for other ranks.
        var reduction = 0.0
        var optimizer = 0.0
    }

    /// As asked for, and how products really run.
    let asked: String
    let products: String
    let seconds: Seconds
    /// Of all ranks.
    let tokensPerSecond: Double
    /// Executed products of a rank.
    let flopsPerSecond: Double

    enum CodingKeys: String, CodingKey {
        case asked, products, seconds
        case tokensPerSecond = "tokens_per_second"
        case flopsPerSecond = "flops_per_second"
    }
}

/// A model that takes training steps in one precision.
struct BenchmarkRun {
    private let asked: PrecisionConfig.MatMulPrecision
    private let tiles: TileMode?
    private let network: LanguageModel
    private let training: TrainStep
    private let tokens: Int
    private var samples: [StepTiming.Seconds] = []
    private var flops = 0

    /// Collective.
    init(
        _ config: RunConfig, precision: PrecisionConfig.MatMulPrecision, topology: Topology, team: ThreadTeam,
        on world: borrowing Communicator
    ) throws {
        asked = precision
        let tiles = try ProductPrecision.tiles(of: precision, on: world)
        self.tiles = tiles
        let length = config.model.contextLength
        tokens = config.train.globalBatch * length
        let ranks = world.size
        (network, training) = try world.collectively {
            let microBatch = try resolvedMicroBatch(config: config, ranks: ranks)
            let network = try LanguageModel(
                config: config.model, microBatch: microBatch, purpose: .training, backend: OpenBLAS(),
                isShared: ranks > 1, team: team, tiles: tiles,
                activations: HalfFormat(config.precision.activations))
            network.initialize(seed: config.train.seed)
            let corpus = try Self.randomTokens(below: config.model.vocabSize, count: 64 * length + 1)
            let samples = BatchSource(
                shard: corpus, tokens: 0..<corpus.count, contextLength: length, order: .shuffled(seed: 1))
            let training = try TrainStep(
                config: config, network: network, samples: samples,
                buffers: try BatchBuffers(config, microBatch: microBatch), topology: topology)
            return (network, training)
        }
    }

    /// A shard that only this process sees: its file has no name any more.
    private static func randomTokens(below vocabulary: Int, count: Int) throws -> TokenShard {
        let path = NSTemporaryDirectory() + "/benchmarks-\(getpid())-\(UUID().uuidString).bin"
        var writer = try TokenShardWriter(path: path)
        let most = UInt16(clamping: vocabulary - 1)
        try writer.append((0..<count).map { _ in UInt16.random(in: 0...most) })
        try writer.finish()
        defer { unlink(path) }
        return try TokenShard(path: path)
    }

    /// Takes step `number`. Collective.
    mutating func step(_ number: Int, counts: Bool, on world: borrowing Communicator) throws {
        let before = network.matmul.flops
        try world.barrier()
        var clock = PhaseClock()
        _ = try training.run(number, clock: &clock)
        let time = clock.finish()
        var seconds = StepTiming.Seconds()
        seconds.step = try world.slowest(time.total)
        seconds.forward = try world.slowest(time.forward)
        seconds.backward = try world.slowest(time.backward)
        seconds.reduction = try world.slowest(time.reduceOverlapped + time.wait + time.reduceExposed)
        seconds.optimizer = try world.slowest(time.optimizer)
        flops = network.matmul.flops - before
        if counts { samples.append(seconds) }
    }

    /// Of the steps that counted.
    var timing: StepTiming {
        func median(_ phase: KeyPath<StepTiming.Seconds, Double>) -> Double {
            samples.map { $0[keyPath: phase] }.sorted()[samples.count / 2]
        }
        let seconds = StepTiming.Seconds(
            step: median(\.step), forward: median(\.forward), backward: median(\.backward),
            reduction: median(\.reduction), optimizer: median(\.optimizer))
        return StepTiming(
            asked: asked.rawValue,
            products: tiles.map { "\($0.precision.rawValue), \($0.instructions.rawValue)" } ?? "fp32",
            seconds: seconds, tokensPerSecond: Double(tokens) / seconds.step,
            flopsPerSecond: Double(flops) / seconds.step)
    }
}
