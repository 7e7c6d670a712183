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
        (optimizer.weightDecay, optimizer.embeddingWeightDecay) = (0.1, 0.1)
        let train = TrainConfig(steps: 10, globalBatch: batch.sequences, optimizer: optimizer)
        let update = try ParameterUpdate(
            train, network: network, shard: ParameterShard(whole: network.layout.count))

        for (index, expected) in zip(model.fixture.losses, model.fixture.gradientNorms).enumerated() {
            Reductions.fill(network.gradients, with: 0)
            network.forward(batch)
            let sum = network.backward(batch, labelSmoothing: model.fixture.labelSmoothing) { _ in }
            let loss = sum.loss / Double(sum.tokens)
            #expect(abs(loss - expected.0) < 1e-4, "step \(index + 1)")
            let norm = try update.apply(
                step: index + 1, loss: loss, tokens: sum.tokens, ownedSquares: 0
            ).gradientNorm
            #expect(abs(norm - expected.1) < 1e-3 * expected.1, "step \(index + 1)")
        }
    }

    /// Four groups of parameters, each with a decay of its own.
    @Test(arguments: ["small", "llama", "bert"], [OptimizerConfig.Name.adamw, .sgd])
    func groupsDecayAsThoseOfPyTorch(name: String, rule: OptimizerConfig.Name) throws {
        let fixture = try DecayFixture.read()
        let answer = try #require(
            fixture.cases.first { $0.model == name && $0.optimizer == rule.rawValue })
        let model = try FixtureModel(name, attention: .recomputed)
        let (network, batch) = (model.network, model.batch)
        var optimizer = OptimizerConfig(name: rule, learningRate: fixture.learningRate)
        optimizer.weightDecay = fixture.decays.matrix
        optimizer.embeddingWeightDecay = fixture.decays.embedding
        optimizer.biasWeightDecay = fixture.decays.bias
        optimizer.normWeightDecay = fixture.decays.norm
        let train = TrainConfig(steps: 10, globalBatch: batch.sequences, optimizer: optimizer)
        let update = try ParameterUpdate(
            train, network: network, shard: ParameterShard(whole: network.layout.count))
        for (index, expected) in answer.losses.enumerated() {
            Reductions.fill(network.gradients, with: 0)
            network.forward(batch)
            let sum = network.backward(batch) { _ in }
            let loss = sum.loss / Double(sum.tokens)
            #expect(abs(loss - expected) < 2e-4 * expected, "step \(index + 1)")
            _ = try update.apply(step: index + 1, loss: loss, tokens: sum.tokens, ownedSquares: 0)
        }
        for tensor in network.layout.tensors {
            var squares = Reductions.sumOfSquares(network.parameters.slice(tensor.range))
            if tensor.name.hasSuffix("attention.qkv.bias") {
                // Biases of keys have no gradient but rounding, of which AdamW makes whole steps.
                let config = network.config
                let width = config.dModel / config.numHeads * config.numKVHeads
                let keys = network.parameters.slice(tensor.range).slice(
                    config.dModel..<config.dModel + width)
                squares -= Reductions.sumOfSquares(keys)
            }
            let expected = try #require(answer.squares[tensor.name])
            #expect(abs(squares - expected) < 1e-3 * expected + 1e-5, "\(tensor.name)")
        }
    }
}

/// PyTorch's answers for groups of parameters, written by `Tests/Fixtures/make-decay-fixtures.py`.
struct DecayFixture: Decodable {
    struct Decays: Decodable { let matrix, embedding, bias, norm: Double }

    struct Case: Decodable {
        let model: String
        let optimizer: String
        let losses: [Double]
        /// Σ θ² of each parameter after the last step, without biases of keys.
        let squares: [String: Double]
    }

    private enum CodingKeys: String, CodingKey {
        case decays, cases
        case learningRate = "learning_rate"
    }

    let learningRate: Double
    let decays: Decays
    let cases: [Case]

    static func read() throws -> DecayFixture {
        try JSONDecoder().decode(DecayFixture.self, from: Fixture.json("decay-groups"))
    }
}
