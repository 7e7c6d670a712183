import Configs
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// With dropout on there is no fixture: the gradient must agree with the change of the loss along it.
@Suite struct DropoutGradientTests {
    @Test(arguments: TransformerFixture.names, ModelConfig.AttentionMode.allCases)
    func theGradientIsTheSlopeOfTheLoss(name: String, attention: ModelConfig.AttentionMode) throws {
        let model = try FixtureModel(name, attention: attention, dropout: 0.3)
        let (network, batch) = (model.network, model.batch)
        let seed = DropoutSeed(seed: 7, step: 3)

        func lossAndGradient() -> Double {
            Reductions.fill(network.gradients, with: 0)
            network.forward(batch, dropout: seed)
            return network.backward(batch, dropout: seed) { _ in }.loss
        }
        let loss = lossAndGradient()
        #expect(lossAndGradient() == loss, "the same step drops the same elements")
        #expect(abs(network.loss(batch).loss - loss) > 1e-3 * loss, "nothing was dropped")

        let start = elements(network.parameters)
        let direction = elements(network.gradients)
        let length = Reductions.sumOfSquares(network.gradients).squareRoot()
        func lossMoved(by distance: Double) -> Double {
            for index in start.indices {
                network.parameters[index] = start[index] + Float(distance / length) * direction[index]
            }
            return lossAndGradient()
        }
        let step = 2e-3
        let slope = (lossMoved(by: step) - lossMoved(by: -step)) / (2 * step)
        #expect(abs(slope - length) < 1e-2 * length, "slope \(slope), norm of the gradient \(length)")
    }
}
