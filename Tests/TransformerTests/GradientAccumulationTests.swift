import Configs
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Gradients that replace what is there are those that are added to zero, whatever was there.
@Suite struct GradientAccumulationTests {
    private func expectReplacement(_ network: LanguageModel, _ batch: TokenBatch) {
        func gradients(over value: Float, accumulate: Bool) -> [Float] {
            Reductions.fill(network.gradients, with: value)
            network.forward(batch)
            _ = network.backward(batch, accumulate: accumulate) { _ in }
            return elements(network.gradients)
        }
        let expected = gradients(over: 0, accumulate: true)
        #expect(expected.contains { $0 != 0 })
        #expect(gradients(over: .nan, accumulate: false) == expected)
    }

    @Test(arguments: TransformerFixture.names, [nil, .bf16, .fp16] as [HalfFormat?])
    func fixtures(name: String, format: HalfFormat?) throws {
        let model = try FixtureModel(name, attention: .recomputed, activations: format)
        expectReplacement(model.network, model.batch)
    }

    /// 600 tokens, more than one block of rows and of logits, with products in tiles and without.
    @Test(arguments: [nil, .bf16, .fp16] as [HalfFormat?], [nil, .medium, .high] as [TilePrecision?])
    func severalBlocks(format: HalfFormat?, precision: TilePrecision?) throws {
        var model = ModelConfig(
            numLayers: 2, dModel: 64, numHeads: 2, dFF: 128, contextLength: 150, vocabSize: 70)
        for (tied, gated) in [(true, false), (false, true)] {
            (model.tieEmbeddings, model.gated) = (tied, gated)
            let network = try LanguageModel(
                config: model, microBatch: 4, purpose: .training, backend: OpenBLAS(),
                team: ThreadTeam(threads: 2),
                tiles: precision.map { TileMode(precision: $0, instructions: .emulated) },
                activations: format)
            network.initialize(seed: 3)
            network.refreshWeights()
            let tokens = (0..<601).map { index in Int32((index * index + 7 * index) % 70) }
            tokens.withUnsafeBufferPointer {
                expectReplacement(
                    network,
                    TokenBatch(
                        inputs: $0.baseAddress!, targets: $0.baseAddress! + 1, sequences: 4, length: 150))
            }
        }
    }
}
