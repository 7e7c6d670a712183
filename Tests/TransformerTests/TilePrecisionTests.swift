import Configs
import Foundation
import Kernels
import Testing
import Transformer

/// Loss and gradients of a model whose products are done in tiles, beside those in fp32.
@Suite struct TilePrecisionTests {
    private static let length = 48

    private static func network(_ tiles: TileMode?) throws -> LanguageModel {
        let model = ModelConfig(
            numLayers: 2, dModel: 96, numHeads: 2, dFF: 160, contextLength: length, vocabSize: 70)
        let network = try LanguageModel(
            config: model, microBatch: 2, purpose: .training, backend: OpenBLAS(), tiles: tiles)
        network.initialize(seed: 3)
        network.refreshWeights()
        return network
    }

    private static func pass(_ network: LanguageModel) -> Double {
        let length = network.config.contextLength
        let tokens: [Int32] = (0..<2 * length + 1).map { index in Int32((index * index + 7 * index) % 70) }
        return tokens.withUnsafeBufferPointer {
            let batch = TokenBatch(
                inputs: $0.baseAddress!, targets: $0.baseAddress! + 1, sequences: 2, length: length)
            network.forward(batch)
            let sum = network.backward(batch) { _ in }
            return sum.loss / Double(sum.tokens)
        }
    }

    /// Of this CPU, and the emulation on every one.
    private static var instructions: [TileInstructions] {
        get throws {
            let best = try TileSupport.here(environment: [:]).instructions
            return TileInstructions.allCases.filter { $0 <= best }
        }
    }

    @Test(arguments: [(TilePrecision.high, 2e-6, 5e-5), (.medium, 2e-3, 3e-2)])
    func lossAndGradients(precision: TilePrecision, ofLoss: Double, ofGradients: Double) throws {
        let exact = try Self.network(nil)
        let loss = Self.pass(exact)
        for instructions in try Self.instructions {
            let network = try Self.network(TileMode(precision: precision, instructions: instructions))
            #expect(abs(Self.pass(network) / loss - 1) < ofLoss, "\(instructions)")
            for tensor in network.layout.tensors {
                let (difference, norm) = tensor.range.reduce(into: (0.0, 0.0)) { sums, index in
                    let expected = Double(exact.gradients[index])
                    sums.0 += pow(Double(network.gradients[index]) - expected, 2)
                    sums.1 += expected * expected
                }
                // Key biases have no gradient but rounding.
                guard norm > 1e-6 else { continue }
                #expect((difference / norm).squareRoot() < ofGradients, "\(tensor.name), \(instructions)")
            }
        }
    }

    /// To the bit: at sizes at which products over the tokens and weights' packing are split.
    @Test(arguments: TilePrecision.allCases)
    func theNumberOfThreadsDoesNotMatter(precision: TilePrecision) throws {
        let model = ModelConfig(
            numLayers: 1, dModel: 128, numHeads: 2, dFF: 192, contextLength: 128, vocabSize: 300)
        for instructions in try Self.instructions {
            var expected: (loss: Double, gradients: [Float]) = (0, [])
            for threads in 1...3 {
                let network = try LanguageModel(
                    config: model, microBatch: 2, purpose: .training, backend: OpenBLAS(),
                    team: ThreadTeam(threads: threads),
                    tiles: TileMode(precision: precision, instructions: instructions))
                network.initialize(seed: 3)
                network.refreshWeights()
                let loss = Self.pass(network)
                let gradients = (0..<network.layout.count).map { network.gradients[$0] }
                if threads == 1 { expected = (loss, gradients) }
                #expect(loss > 0 && loss == expected.loss, "\(instructions), \(threads) threads")
                #expect(gradients == expected.gradients, "\(instructions), \(threads) threads")
            }
        }
    }

    @Test func changedParametersCountOnceRefreshed() throws {
        let network = try Self.network(TileMode(precision: .medium, instructions: .emulated))
        let before = Self.pass(network)
        for index in 0..<network.layout.count { network.parameters[index] *= 1.5 }
        network.refreshWeights()
        let other = try Self.network(TileMode(precision: .medium, instructions: .emulated))
        for index in 0..<other.layout.count { other.parameters[index] = network.parameters[index] }
        other.refreshWeights()
        let after = Self.pass(network)
        #expect(after != before && after == Self.pass(other))
    }
}
