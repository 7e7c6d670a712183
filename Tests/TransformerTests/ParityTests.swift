import Configs
import Foundation
import Kernels
import TestSupport
import Testing
import Transformer

/// PyTorch's logits, losses and gradients for small models of odd shapes.
@Suite struct ParityTests {
    @Test(arguments: TransformerFixture.names, ModelConfig.AttentionMode.allCases)
    func logitsLossAndGradientsAreThoseOfPyTorch(name: String, attention: ModelConfig.AttentionMode) throws {
        let model = try FixtureModel(name, attention: attention)
        let fixture = model.fixture

        model.decoder.forward(model.batch)
        let logits = model.decoder.logits(model.batch, rows: 0..<model.batch.sequences * model.batch.length)
        let expected = try fixture.tensors.floats("logits")
        #expect(logits.rows * logits.columns == expected.count)
        #expect(largestDifference(logits.vector, expected) < 1e-4)

        var readyOffsets: [Int] = []
        let sum = model.decoder.backward(model.batch) { readyOffsets.append($0) }
        #expect(sum.tokens == fixture.validTargets)
        #expect(abs(sum.loss / Double(sum.tokens) - fixture.meanLoss) < 1e-4)
        #expect(readyOffsets == readyOffsets.sorted(by: >) && readyOffsets.last == 0)

        #expect(model.decoder.layout.tensors.map(\.name) == fixture.parameterNames)
        for tensor in model.decoder.layout.tensors {
            let gradient = model.decoder.gradients.slice(tensor.range)
            Reductions.scale(gradient, by: 1 / Float(sum.tokens))
            let error = relativeError(gradient, try fixture.gradient(tensor.name))
            #expect(error < 1e-3, "\(tensor.name): relative error \(error)")
        }
    }

    /// A gradient that `ready` has announced must not change any more.
    @Test func gradientsAreCompleteWhenTheyAreSaidToBe() throws {
        let model = try FixtureModel("small", attention: .recomputed)
        let decoder = model.decoder
        var announced: [(offset: Int, values: [Float])] = []
        decoder.forward(model.batch)
        _ = decoder.backward(model.batch) { offset in
            announced.append((offset, Array(decoder.gradients.slice(offset..<decoder.layout.count))))
        }
        for (offset, values) in announced {
            #expect(Array(decoder.gradients.slice(offset..<decoder.layout.count)) == values)
        }
    }

    /// The loss of a batch is the sum of the losses of its sequences, with fewer sequences than planned too.
    @Test(arguments: TransformerFixture.names)
    func sequencesDoNotInfluenceEachOther(name: String) throws {
        let model = try FixtureModel(name, attention: .stored)
        let whole = model.decoder.loss(model.batch)
        var parts = CrossEntropy.Sum(loss: 0, tokens: 0)
        for sequence in 0..<model.batch.sequences {
            parts += model.decoder.loss(model.sequence(sequence))
        }
        #expect(parts.tokens == whole.tokens)
        #expect(abs(parts.loss - whole.loss) < 1e-4 * whole.loss)
    }
}

/// A fixture's model with its parameters loaded and its batch at hand.
final class FixtureModel {
    let fixture: TransformerFixture
    let decoder: Transformer.Decoder
    private let inputs: AlignedBuffer<Int32>
    private let targets: AlignedBuffer<Int32>
    private let shape: [Int]

    var batch: TokenBatch {
        TokenBatch(
            inputs: inputs.base, targets: targets.base, sequences: shape[0], length: shape[1])
    }

    init(_ name: String, attention: ModelConfig.AttentionMode, dropout: Double = 0) throws {
        fixture = try TransformerFixture(name)
        let config = try ModelConfig(fixtureJSON: fixture.model, attention: attention, dropout: dropout)
        shape = try fixture.tensors.shape("inputs")
        decoder = try Transformer.Decoder(
            config: config, microBatch: shape[0], purpose: .training, backend: OpenBLAS(threads: 1))
        inputs = try AlignedBuffer(copying: fixture.tensors.int32s("inputs"))
        targets = try AlignedBuffer(copying: fixture.tensors.int32s("targets"))
        for tensor in decoder.layout.tensors {
            let values = try fixture.parameter(tensor.name)
            #expect(try fixture.tensors.shape("parameters/" + tensor.name) == tensor.shape)
            for (index, value) in values.enumerated() {
                decoder.parameters[tensor.slot.offset + index] = value
            }
        }
    }

    func sequence(_ index: Int) -> TokenBatch {
        TokenBatch(
            inputs: inputs.base + index * shape[1], targets: targets.base + index * shape[1], sequences: 1,
            length: shape[1], firstSequence: index)
    }
}

extension ModelConfig {
    init(fixtureJSON: Data, attention: AttentionMode, dropout: Double = 0) throws {
        struct Keys: Decodable {
            let numLayers, dModel, numHeads, dFf, contextLength, vocabSize: Int
            let activation: String
            let tieEmbeddings: Bool
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let keys = try decoder.decode(Keys.self, from: fixtureJSON)
        self.init(
            numLayers: keys.numLayers, dModel: keys.dModel, numHeads: keys.numHeads, dFF: keys.dFf,
            contextLength: keys.contextLength, vocabSize: keys.vocabSize)
        activation = try #require(Activation(rawValue: keys.activation))
        tieEmbeddings = keys.tieEmbeddings
        self.dropout = dropout
        self.attention = attention
    }
}

extension AlignedBuffer {
    init(copying values: [Element]) throws {
        try self.init(count: values.count)
        for (index, value) in values.enumerated() { base[index] = value }
    }
}

func Array(_ vector: Vector) -> [Float] { (0..<vector.count).map { vector[$0] } }

func largestDifference(_ a: Vector, _ b: [Float]) -> Float {
    b.indices.map { abs(a[$0] - b[$0]) }.max() ?? 0
}

/// ‖a − b‖ / ‖b‖.
func relativeError(_ a: Vector, _ b: [Float]) -> Double {
    let difference = b.indices.map { Double(a[$0] - b[$0]) }.reduce(0) { $0 + $1 * $1 }
    let size = b.map { Double($0) }.reduce(0) { $0 + $1 * $1 }
    return (difference / max(size, 1e-30)).squareRoot()
}
