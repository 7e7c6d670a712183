import Configs
import Foundation
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// PyTorch's logits, losses and gradients for small models of odd shapes.
@Suite struct ParityTests {
    @Test(arguments: TransformerFixture.names, ModelConfig.AttentionMode.allCases)
    func logitsLossAndGradientsAreThoseOfPyTorch(name: String, attention: ModelConfig.AttentionMode) throws {
        let model = try FixtureModel(name, attention: attention)
        let fixture = model.fixture

        model.network.forward(model.batch)
        let logits = model.network.logits(model.batch, rows: 0..<model.batch.sequences * model.batch.length)
        let expected = try fixture.tensors.floats("logits")
        #expect(logits.rows * logits.columns == expected.count)
        #expect(largestDifference(logits.vector, expected) < 1e-4)

        var readyOffsets: [Int] = []
        let sum = model.network.backward(model.batch, labelSmoothing: fixture.labelSmoothing) {
            readyOffsets.append($0)
        }
        #expect(sum.tokens == fixture.validTargets)
        #expect(abs(sum.loss / Double(sum.tokens) - fixture.meanLoss) < 1e-4)
        #expect(readyOffsets == readyOffsets.sorted(by: >) && readyOffsets.last == 0)

        #expect(model.network.layout.tensors.map(\.name) == fixture.parameterNames)
        for tensor in model.network.layout.tensors {
            let gradient = model.network.gradients.slice(tensor.range)
            Reductions.scale(gradient, by: 1 / Float(sum.tokens))
            let error = relativeError(gradient, try fixture.gradient(tensor.name))
            #expect(error < 1e-3, "\(tensor.name): relative error \(error)")
        }
    }

    /// A gradient that `ready` has announced must not change any more.
    @Test(arguments: ["small", "marian", "seq2seq-pre", "seq2seq-gated"])
    func gradientsAreCompleteWhenTheyAreSaidToBe(name: String) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let network = model.network
        var announced: [(offset: Int, values: [Float])] = []
        network.forward(model.batch)
        _ = network.backward(model.batch) { offset in
            announced.append((offset, elements(network.gradients.slice(offset..<network.layout.count))))
        }
        for (offset, values) in announced {
            #expect(elements(network.gradients.slice(offset..<network.layout.count)) == values)
        }
    }

    /// The loss of a batch is the sum of the losses of its sequences, with fewer sequences than planned too.
    @Test(arguments: TransformerFixture.names)
    func sequencesDoNotInfluenceEachOther(name: String) throws {
        let model = try FixtureModel(name, attention: .stored)
        let whole = model.network.loss(model.batch)
        var parts = CrossEntropy.Sum(loss: 0, tokens: 0)
        for sequence in 0..<model.batch.sequences {
            parts += model.network.loss(model.sequence(sequence))
        }
        #expect(parts.tokens == whole.tokens)
        #expect(abs(parts.loss - whole.loss) < 1e-4 * whole.loss)
    }
}

func elements(_ vector: Vector) -> [Float] { (0..<vector.count).map { vector[$0] } }

func largestDifference(_ a: Vector, _ b: [Float]) -> Float {
    b.indices.map { abs(a[$0] - b[$0]) }.max() ?? 0
}

/// ‖a − b‖ / ‖b‖.
func relativeError(_ a: Vector, _ b: [Float]) -> Double {
    let difference = b.indices.map { Double(a[$0] - b[$0]) }.reduce(0) { $0 + $1 * $1 }
    let size = b.map { Double($0) }.reduce(0) { $0 + $1 * $1 }
    return (difference / max(size, 1e-30)).squareRoot()
}
