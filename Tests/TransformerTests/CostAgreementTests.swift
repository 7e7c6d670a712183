import Configs
import Cost
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Two derivations, the estimate's formulas and the model's code, agree to the byte and to the FLOP.
@Suite struct CostAgreementTests {
    static let lengths = [1, 5, 63, 64, 65, 128, 150]

    private func model(_ length: Int, _ attention: ModelConfig.AttentionMode, _ dropout: Double)
        -> ModelConfig
    {
        // A vocabulary and an MLP that leave the largest workspace to attention.
        var model = ModelConfig(
            numLayers: 2, dModel: 12, numHeads: 3, dFF: 8, contextLength: length, vocabSize: 5)
        model.attention = attention
        model.dropout = dropout
        return model
    }

    private func estimate(
        _ model: ModelConfig, sequences: Int, threads: Int = 1,
        precision: PrecisionConfig.MatMulPrecision = .highest,
        activations: PrecisionConfig.ActivationFormat = .fp32
    ) throws -> Estimate {
        var train = TrainConfig(
            steps: 1, globalBatch: sequences, optimizer: OptimizerConfig(learningRate: 0.1))
        train.microBatch = .sequences(sequences)
        var config = RunConfig(name: "t", model: model, data: DataConfig(path: "t"), train: train)
        config.parallel.threadsPerRank = threads
        config.precision.matmul = precision
        config.precision.activations = activations
        return try Estimate(config: config, ranks: 1)
    }

    private func network(
        _ model: ModelConfig, sequences: Int, threads: Int = 1, tiles: TilePrecision? = nil,
        activations: HalfFormat? = nil
    ) throws -> LanguageModel {
        let network = try LanguageModel(
            config: model, microBatch: sequences, purpose: .training, backend: OpenBLAS(),
            team: ThreadTeam(threads: threads),
            tiles: tiles.map { TileMode(precision: $0, instructions: .emulated) }, activations: activations)
        network.initialize(seed: 1)
        network.refreshWeights()
        return network
    }

    private func withBatch(sequences: Int, length: Int, source: Int = 0, _ body: (TokenBatch) -> Void) {
        let tokens = (0..<sequences * max(length, source)).map { Int32($0 * 7 % 5) }
        tokens.withUnsafeBufferPointer {
            body(
                TokenBatch(
                    inputs: $0.baseAddress!, targets: $0.baseAddress!, sequences: sequences, length: length,
                    source: source > 0 ? TokenBatch.Source(tokens: $0.baseAddress!, length: source) : nil))
        }
    }

    /// All but the weights of linear maps, among which is a token embedding that the head shares.
    @Test(arguments: TransformerFixture.names)
    func clearedGradients(name: String) throws {
        let network = try FixtureModel(name, attention: .recomputed).network
        let shared = network.config.tieEmbeddings ? network.config.vocabSize * network.config.dModel : 0
        let others = network.layout.tensors.filter { $0.kind != .matrix }
        let cleared = try ParameterCount(network.config).cleared
        #expect(others.reduce(0) { $0 + $1.slot.count } - shared == cleared)
    }

    @Test(arguments: lengths, ModelConfig.AttentionMode.allCases)
    func arenasAndProducts(length: Int, attention: ModelConfig.AttentionMode) throws {
        let cases: [(Double, Int, Int, HalfFormat?)] = [
            (0.0, 1, 1, nil), (0.1, 2, 1, nil), (0, 1, 2, nil), (0.1, 2, 3, nil), (0.1, 3, 2, .bf16),
            (0, 5, 1, .bf16),
        ]
        for (dropout, sequences, threads, format) in cases {
            let model = model(length, attention, dropout)
            let (expected, network) = try (
                estimate(
                    model, sequences: sequences, threads: threads,
                    activations: PrecisionConfig.ActivationFormat(format)),
                network(model, sequences: sequences, threads: threads, activations: format)
            )
            let bytes = network.arenaBytes
            #expect(bytes.parameters == expected.memory.parameters)
            #expect(bytes.activations == expected.memory.activations)
            #expect(bytes.workspace == expected.memory.workspace)
            withBatch(sequences: sequences, length: length) { batch in
                network.forward(batch)
                _ = network.backward(batch) { _ in }
            }
            #expect(network.matmul.flops == expected.flops.executed)
        }
    }

    /// Every kind of model, in all three precisions of products, activations in fp32 or in 16 bits, with one thread and
    /// several.
    @Test(arguments: Variant.all, ModelConfig.AttentionMode.allCases)
    func variants(_ variant: Variant, attention: ModelConfig.AttentionMode) throws {
        let cases = PrecisionConfig.MatMulPrecision.allCases.flatMap { precision in
            ([nil] + HalfFormat.allCases).map { (precision, $0) }
        }
        for (index, (precision, format)) in cases.enumerated() {
            var model = ModelConfig(
                numLayers: 2, dModel: 96, numHeads: 6, dFF: 130, contextLength: 100, vocabSize: 67)
            model.attention = attention
            model.dropout = index == 1 || index == 2 ? 0.1 : 0
            variant.change(&model)
            // More tokens than a block of rows has.
            let (sequences, threads) = (3, index % 3 + 1)
            let expected = try estimate(
                model, sequences: sequences, threads: threads, precision: precision,
                activations: PrecisionConfig.ActivationFormat(format))
            let network = try network(
                model, sequences: sequences, threads: threads, tiles: TilePrecision(precision),
                activations: format)
            let bytes = network.arenaBytes
            #expect(bytes.parameters == expected.memory.parameters)
            #expect(bytes.activations == expected.memory.activations)
            #expect(bytes.workspace == expected.memory.workspace)
            withBatch(sequences: sequences, length: 100, source: model.sourceLength) { batch in
                network.forward(batch, dropout: DropoutSeed(seed: 1, step: 1))
                _ = network.backward(batch, dropout: DropoutSeed(seed: 1, step: 1)) { _ in }
            }
            #expect(network.matmul.flops == expected.flops.executed)
        }
    }

    /// Batches that are shorter than the context cost what a model of that context costs, and have its loss.
    @Test(arguments: lengths, ModelConfig.AttentionMode.allCases)
    func shorterBatches(length: Int, attention: ModelConfig.AttentionMode) throws {
        let expected = try estimate(model(length, attention, 0), sequences: 2).flops
        let short = try network(model(length, attention, 0), sequences: 2)
        let long = try network(model(170, attention, 0), sequences: 2)
        for tensor in long.layout.tensors {
            // Only the position embedding is longer, at its end.
            let source = try #require(short.layout.tensors.first { $0.name == tensor.name })
            for index in 0..<source.slot.count {
                long.parameters[tensor.slot.offset + index] = short.parameters[source.slot.offset + index]
            }
        }
        withBatch(sequences: 2, length: length) { batch in
            #expect(long.loss(batch) == short.loss(batch))
            #expect(long.matmul.flops == short.matmul.flops)
            let evaluated = long.matmul.flops
            long.forward(batch)
            _ = long.backward(batch) { _ in }
            #expect(long.matmul.flops - evaluated == expected.executed)
        }
    }

    /// Packed weights and operands, and three products for one, at sizes where some products stay in fp32.
    @Test(arguments: [40, 64, 100, 150], [PrecisionConfig.MatMulPrecision.high, .medium])
    func tiles(length: Int, precision: PrecisionConfig.MatMulPrecision) throws {
        for (heads, threads) in [(2, 1), (3, 1), (2, 2), (3, 3)] {
            let model = ModelConfig(
                numLayers: 2, dModel: 96, numHeads: heads * 2, dFF: 130, contextLength: length, vocabSize: 67)
            let expected = try estimate(model, sequences: 2, threads: threads, precision: precision)
            let network = try network(
                model, sequences: 2, threads: threads, tiles: precision == .high ? .high : .medium)
            #expect(network.arenaBytes.workspace == expected.memory.workspace)
            withBatch(sequences: 2, length: length) { batch in
                network.forward(batch)
                _ = network.backward(batch) { _ in }
            }
            #expect(network.matmul.flops == expected.flops.executed)
        }
    }

    /// Packed weights are kept up to 128 MiB, and beyond packed by every product; either way the loss is the same function.
    @Test(arguments: [(60_000, true), (68_000, false)])
    func largeWeightsArePackedAgain(vocabulary: Int, isKept: Bool) throws {
        let model = ModelConfig(
            numLayers: 1, dModel: 512, numHeads: 4, dFF: 64, contextLength: 16, vocabSize: vocabulary)
        let expected = try estimate(model, sequences: 1, precision: .medium)
        let network = try network(model, sequences: 1, tiles: .medium)
        #expect(network.arenaBytes.workspace == expected.memory.workspace)
        // Logits of 16 tokens and operands on their way take 20 MiB at most.
        #expect((network.arenaBytes.workspace > 100 << 20) == isKept)
        let exact = try self.network(model, sequences: 1)
        withBatch(sequences: 1, length: 16) { batch in
            network.forward(batch)
            let loss = network.backward(batch) { _ in }.loss
            #expect(network.matmul.flops == expected.flops.executed)
            exact.forward(batch)
            let exactLoss = exact.backward(batch) { _ in }.loss
            #expect(abs(loss - exactLoss) < 1e-3 * abs(exactLoss))
            var (error, all) = (0.0, 0.0)
            for index in stride(from: 0, to: network.gradients.count, by: 97) {
                let (found, expected) = (Double(network.gradients[index]), Double(exact.gradients[index]))
                error += (found - expected) * (found - expected)
                all += expected * expected
            }
            #expect(error.squareRoot() < 0.02 * all.squareRoot())
        }
    }
}

/// A change of GPT-2's form.
struct Variant: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let change: @Sendable (inout ModelConfig) -> Void

    static let all = [
        Variant(testDescription: "llama") {
            ($0.normType, $0.positions, $0.activation) = (.rms, .rotary, .silu)
            ($0.gated, $0.biases, $0.tieEmbeddings, $0.numKVHeads) = (true, false, false, 2)
        },
        Variant(testDescription: "post-norm, sinusoidal, no final norm") {
            ($0.norm, $0.finalNorm, $0.positions, $0.scaleEmbeddings) = (.post, false, .sinusoidal, true)
        },
        Variant(testDescription: "post-norm, final norm, gated with biases") {
            ($0.norm, $0.gated, $0.activation) = (.post, true, .geluErf)
        },
        Variant(testDescription: "rotary, one head of keys, gated, large feed-forward") {
            ($0.positions, $0.numKVHeads, $0.gated, $0.dFF) = (.rotary, 1, true, 300)
        },
        Variant(testDescription: "rms with biases, no final norm") {
            ($0.normType, $0.finalNorm, $0.activation) = (.rms, false, .relu)
        },
        Variant(testDescription: "BERT") {
            ($0.family, $0.norm, $0.finalNorm, $0.activation) = (.encoder, .post, false, .geluErf)
            ($0.tokenTypes, $0.embeddingNorm, $0.headTransform) = (2, true, true)
        },
        Variant(testDescription: "pre-norm encoder, rotary, transform without biases") {
            ($0.family, $0.positions, $0.headTransform, $0.biases) = (.encoder, .rotary, true, false)
        },
        Variant(testDescription: "plain encoder, one head of keys, untied") {
            ($0.family, $0.norm, $0.tieEmbeddings, $0.numKVHeads) = (.encoder, .post, false, 1)
        },
        Variant(testDescription: "Marian, longer sources") {
            ($0.family, $0.encoderLayers, $0.sourceLength) = (.encoderDecoder, 3, 130)
            ($0.norm, $0.finalNorm, $0.positions, $0.activation) = (.post, false, .sinusoidal, .relu)
        },
        Variant(testDescription: "encoder and decoder, pre-norm, shorter sources, separate embeddings") {
            ($0.family, $0.encoderLayers, $0.sourceLength) = (.encoderDecoder, 1, 50)
            ($0.shareEmbeddings, $0.tieEmbeddings, $0.dFF) = (false, false, 20)
        },
        Variant(testDescription: "encoder and decoder with everything else") {
            ($0.family, $0.encoderLayers, $0.sourceLength) = (.encoderDecoder, 2, 64)
            ($0.normType, $0.positions, $0.gated, $0.numKVHeads) = (.rms, .rotary, true, 2)
            ($0.embeddingNorm, $0.headTransform, $0.tokenTypes, $0.biases) = (true, true, 2, false)
        },
        Variant(testDescription: "encoder and decoder, attention with the largest workspace") {
            ($0.family, $0.encoderLayers, $0.sourceLength) = (.encoderDecoder, 2, 400)
            ($0.contextLength, $0.dFF, $0.dModel, $0.numHeads, $0.numKVHeads) = (100, 4, 12, 6, 6)
        },
        Variant(testDescription: "no biases, three heads of keys") {
            ($0.biases, $0.numKVHeads) = (false, 3)
        },
    ]
}

extension PrecisionConfig.ActivationFormat {
    init(_ format: HalfFormat?) { self = format.flatMap { Self(rawValue: $0.rawValue) } ?? .fp32 }
}

extension TilePrecision {
    /// Nil where products are not done in tiles.
    init?(_ precision: PrecisionConfig.MatMulPrecision) {
        switch precision {
        case .highest: return nil
        case .high: self = .high
        case .medium: self = .medium
        }
    }
}
