import Configs
import Corpus
import Foundation
import Kernels
import TestSupport
import Testing
import Training
import Transformer
import TransformerTestSupport

/// Ten steps of AdamW with clipping on one batch, against PyTorch.
@Suite struct ParameterUpdateTests {
    @Test(arguments: TransformerFixture.names, ModelConfig.AttentionMode.allCases)
    func tenLossesAreThoseOfPyTorch(name: String, attention: ModelConfig.AttentionMode) throws {
        let model = try FixtureModel(name, attention: attention)
        let (network, batch) = (model.network, model.batch)
        var optimizer = OptimizerConfig(name: .adamw, learningRate: 1e-3)
        optimizer.weightDecay = 0.1
        let train = TrainConfig(steps: 10, globalBatch: batch.sequences, optimizer: optimizer)
        let update = try ParameterUpdate(
            train, network: network, shard: ParameterShard(whole: network.layout.count))

        for (index, expected) in zip(model.fixture.losses, model.fixture.gradientNorms).enumerated() {
            Reductions.fill(network.gradients, with: 0)
            network.forward(batch)
            let sum = network.backward(batch) { _ in }
            let loss = sum.loss / Double(sum.tokens)
            #expect(abs(loss - expected.0) < 1e-4, "step \(index + 1)")
            let norm = try update.apply(
                step: index + 1, loss: loss, tokens: sum.tokens, ownedSquares: 0
            ).gradientNorm
            #expect(abs(norm - expected.1) < 1e-3 * expected.1, "step \(index + 1)")
        }
    }
}
