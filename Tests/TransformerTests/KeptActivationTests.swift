import Configs
import Foundation
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Models whose activations are kept in 16 bits, beside those in fp32.
@Suite struct KeptActivationTests {
    /// How far loss and gradients may be from those in fp32: 8 and 11 bits are kept.
    private static func bounds(_ format: HalfFormat) -> (loss: Double, cosine: Double, error: Double) {
        format == .bf16 ? (4e-3, 0.999, 0.05) : (5e-4, 0.99998, 0.006)
    }

    private func compare(
        _ format: HalfFormat, _ half: LanguageModel, _ full: LanguageModel, _ batch: TokenBatch,
        dropout: DropoutSeed? = nil
    ) {
        // The derivative of ReLU jumps, so that what is rounded across zero counts whole.
        let bounds = Self.bounds(full.config.activation == .relu ? .bf16 : format)
        let losses = [half, full].map { network in
            network.forward(batch, dropout: dropout)
            let sum = network.backward(batch, dropout: dropout) { _ in }
            return sum.loss / Double(sum.tokens)
        }
        #expect(abs(losses[0] / losses[1] - 1) < bounds.loss && losses[0] != losses[1], "\(losses)")
        var all = (product: 0.0, half: 0.0, full: 0.0)
        for tensor in full.layout.tensors {
            let sums = tensor.range.reduce(into: (product: 0.0, half: 0.0, full: 0.0)) { sums, index in
                let (a, b) = (Double(half.gradients[index]), Double(full.gradients[index]))
                sums.product += a * b
                sums.half += a * a
                sums.full += b * b
            }
            all = (all.product + sums.product, all.half + sums.half, all.full + sums.full)
            // Key biases have no gradient but rounding.
            guard sums.full > 1e-4 else { continue }
            let error = max(0, sums.half + sums.full - 2 * sums.product) / sums.full
            #expect(error.squareRoot() < 2 * bounds.error, "\(tensor.name): \(error.squareRoot())")
        }
        let cosine = all.product / (all.half * all.full).squareRoot()
        let error = max(0, all.half + all.full - 2 * all.product) / all.full
        #expect(
            cosine > bounds.cosine && error.squareRoot() < bounds.error, "\(cosine), \(error.squareRoot())")
    }

    /// The kinds of models that PyTorch's fixtures have.
    @Test(arguments: TransformerFixture.names, ModelConfig.AttentionMode.allCases)
    func fixtures(name: String, attention: ModelConfig.AttentionMode) throws {
        for format in HalfFormat.allCases {
            let half = try FixtureModel(name, attention: attention, activations: format)
            let full = try FixtureModel(name, attention: attention)
            compare(format, half.network, full.network, half.batch)
        }
    }

    private static func network(
        _ format: HalfFormat?, _ attention: ModelConfig.AttentionMode = .recomputed, dropout: Double = 0,
        threads: Int = 1, tiles: TileMode? = nil, change: (inout ModelConfig) -> Void = { _ in }
    ) throws -> LanguageModel {
        var model = ModelConfig(
            numLayers: 2, dModel: 64, numHeads: 2, dFF: 128, contextLength: 150, vocabSize: 70)
        model.attention = attention
        model.dropout = dropout
        change(&model)
        let network = try LanguageModel(
            config: model, microBatch: 4, purpose: .training, backend: OpenBLAS(),
            team: ThreadTeam(threads: threads), tiles: tiles, activations: format)
        network.initialize(seed: 3)
        network.refreshWeights()
        return network
    }

    private static func withBatch(_ network: LanguageModel, _ body: (TokenBatch) throws -> Void) rethrows {
        let length = network.config.contextLength
        let tokens: [Int32] = (0..<4 * length + 1).map { index in Int32((index * index + 7 * index) % 70) }
        try tokens.withUnsafeBufferPointer {
            try body(
                TokenBatch(
                    inputs: $0.baseAddress!, targets: $0.baseAddress! + 1, sequences: 4, length: length))
        }
    }

    /// 600 tokens, more than two blocks of rows, with and without dropout, and of Llama's and BERT's kind, whose positions
    /// and dropout depend on the row.
    @Test(arguments: ModelConfig.AttentionMode.allCases, [0, 0.1])
    func severalBlocks(attention: ModelConfig.AttentionMode, dropout: Double) throws {
        let variants: [(inout ModelConfig) -> Void] = [
            { _ in },
            { ($0.normType, $0.positions, $0.gated, $0.activation) = (.rms, .rotary, true, .silu) },
            { ($0.norm, $0.embeddingNorm, $0.headTransform) = (.post, true, true) },
        ]
        for (format, change) in HalfFormat.allCases.flatMap({ format in variants.map { (format, $0) } }) {
            let half = try Self.network(format, attention, dropout: dropout, threads: 2, change: change)
            let full = try Self.network(nil, attention, dropout: dropout, change: change)
            Self.withBatch(full) {
                compare(format, half, full, $0, dropout: DropoutSeed(seed: 1, step: 1))
            }
        }
    }

    /// But for the order of sums, and what is rounded the other way for it.
    @Test(arguments: HalfFormat.allCases)
    func theNumberOfThreadsDoesNotMatter(format: HalfFormat) throws {
        var expected: (loss: Double, gradients: [Float]) = (0, [])
        for threads in 1...3 {
            let network = try Self.network(format, .stored, dropout: 0.1, threads: threads)
            var loss = 0.0
            Self.withBatch(network) { batch in
                network.forward(batch, dropout: DropoutSeed(seed: 1, step: 1))
                loss = network.backward(batch, dropout: DropoutSeed(seed: 1, step: 1)) { _ in }.loss
            }
            let gradients = elements(network.gradients)
            if threads == 1 { expected = (loss, gradients) }
            let error = relativeError(network.gradients, expected.gradients)
            #expect(loss > 0 && abs(loss / expected.loss - 1) < 1e-4 && error < 0.01, "\(threads): \(error)")
        }
    }

    /// Each sequence's loss is the same by itself, where blocks of rows begin elsewhere.
    @Test(arguments: HalfFormat.allCases)
    func sequencesDoNotInfluenceEachOther(format: HalfFormat) throws {
        let network = try Self.network(format)
        Self.withBatch(network) { batch in
            let whole = network.loss(batch)
            var parts = CrossEntropy.Sum(loss: 0, tokens: 0)
            for sequence in 0..<4 {
                let first = sequence * batch.length
                parts += network.loss(
                    TokenBatch(
                        inputs: batch.inputs + first, targets: batch.targets.map { $0 + first }, sequences: 1,
                        length: batch.length))
            }
            #expect(parts.tokens == whole.tokens && abs(parts.loss - whole.loss) < 1e-4 * whole.loss)
        }
    }

    /// With products in bf16 tiles, too.
    @Test(arguments: HalfFormat.allCases, TilePrecision.allCases)
    func tiles(format: HalfFormat, precision: TilePrecision) throws {
        let mode = TileMode(precision: precision, instructions: .emulated)
        let (half, full) = try (Self.network(format, tiles: mode), Self.network(nil, tiles: mode))
        Self.withBatch(full) { compare(.bf16, half, full, $0) }
    }
}
