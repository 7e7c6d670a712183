import Configs
import Foundation
import Kernels
import TestSupport
import Transformer

/// A fixture's model with its parameters loaded and its batch at hand.
public final class FixtureModel {
    public let fixture: TransformerFixture
    public let network: LanguageModel
    private let inputs: AlignedBuffer<Int32>
    private let targets: AlignedBuffer<Int32>
    private let lengths: AlignedBuffer<Int32>
    /// Of an encoder–decoder.
    private let sources: AlignedBuffer<Int32>
    private let sourceLengths: AlignedBuffer<Int32>
    private let shape: [Int]

    public var batch: TokenBatch {
        TokenBatch(
            inputs: inputs.base, targets: targets.base, sequences: shape[0], length: shape[1],
            lengths: lengths.base, source: source(of: 0))
    }

    public init(
        _ name: String, attention: ModelConfig.AttentionMode, dropout: Double = 0,
        activations: HalfFormat? = nil
    ) throws {
        fixture = try TransformerFixture(name)
        let config = try ModelConfig(fixtureJSON: fixture.model, attention: attention, dropout: dropout)
        shape = try fixture.tensors.shape("inputs")
        network = try LanguageModel(
            config: config, microBatch: shape[0], purpose: .training, backend: OpenBLAS(),
            activations: activations)
        inputs = try AlignedBuffer(copying: fixture.tensors.int32s("inputs"))
        targets = try AlignedBuffer(copying: fixture.tensors.int32s("targets"))
        lengths = try AlignedBuffer(
            copying: config.family == .encoder
                ? fixture.tensors.int32s("lengths") : Array(repeating: Int32(shape[1]), count: shape[0]))
        let hasSources = config.family == .encoderDecoder
        sources = try AlignedBuffer(copying: hasSources ? fixture.tensors.int32s("sources") : [])
        sourceLengths = try AlignedBuffer(
            copying: hasSources ? fixture.tensors.int32s("source_lengths") : [])
        for tensor in network.layout.tensors {
            let values = try fixture.parameter(tensor.name)
            let shape = try fixture.tensors.shape("parameters/" + tensor.name)
            precondition(shape == tensor.shape, "\(tensor.name): \(shape), not \(tensor.shape)")
            for (index, value) in values.enumerated() {
                network.parameters[tensor.slot.offset + index] = value
            }
        }
    }

    /// The sources from sequence `index` on.
    private func source(of index: Int) -> TokenBatch.Source? {
        let length = network.config.sourceLength
        guard length > 0 else { return nil }
        return TokenBatch.Source(
            tokens: sources.base + index * length, length: length, lengths: sourceLengths.base + index)
    }

    public func sequence(_ index: Int) -> TokenBatch {
        TokenBatch(
            inputs: inputs.base + index * shape[1], targets: targets.base + index * shape[1], sequences: 1,
            length: shape[1], lengths: lengths.base + index, source: source(of: index),
            firstSequence: index)
    }
}

extension ModelConfig {
    fileprivate init(fixtureJSON: Data, attention: AttentionMode, dropout: Double = 0) throws {
        struct Keys: Decodable {
            let numLayers, dModel, numHeads, dFf, contextLength, vocabSize: Int
            let activation: ModelConfig.Activation
            let tieEmbeddings: Bool
            // Those of GPT-2 where a fixture has none.
            let numKvHeads: Int?
            let norm: ModelConfig.NormPlacement?
            let normType: ModelConfig.NormType?
            let positions: ModelConfig.Positions?
            let family: ModelConfig.Family?
            let tokenTypes, encoderLayers, sourceLength: Int?
            let shareEmbeddings: Bool?
            let embeddingNorm, headTransform: Bool?
            let finalNorm, scaleEmbeddings, gated, biases: Bool?
            let normEpsilon, rotaryBase: Double?
        }
        let network = JSONDecoder()
        network.keyDecodingStrategy = .convertFromSnakeCase
        let keys = try network.decode(Keys.self, from: fixtureJSON)
        self.init(
            numLayers: keys.numLayers, dModel: keys.dModel, numHeads: keys.numHeads, dFF: keys.dFf,
            contextLength: keys.contextLength, vocabSize: keys.vocabSize)
        activation = keys.activation
        tieEmbeddings = keys.tieEmbeddings
        numKVHeads = keys.numKvHeads ?? numHeads
        norm = keys.norm ?? norm
        normType = keys.normType ?? normType
        positions = keys.positions ?? positions
        finalNorm = keys.finalNorm ?? finalNorm
        scaleEmbeddings = keys.scaleEmbeddings ?? scaleEmbeddings
        gated = keys.gated ?? gated
        family = keys.family ?? family
        tokenTypes = keys.tokenTypes ?? tokenTypes
        encoderLayers = keys.encoderLayers ?? encoderLayers
        sourceLength = keys.sourceLength ?? sourceLength
        shareEmbeddings = keys.shareEmbeddings ?? shareEmbeddings
        embeddingNorm = keys.embeddingNorm ?? embeddingNorm
        headTransform = keys.headTransform ?? headTransform
        biases = keys.biases ?? biases
        normEpsilon = keys.normEpsilon ?? normEpsilon
        rotaryBase = keys.rotaryBase ?? rotaryBase
        self.dropout = dropout
        self.attention = attention
    }
}

extension ModelConfig.Family: Decodable {}
extension ModelConfig.Activation: Decodable {}
extension ModelConfig.NormPlacement: Decodable {}
extension ModelConfig.NormType: Decodable {}
extension ModelConfig.Positions: Decodable {}

extension AlignedBuffer {
    fileprivate init(copying values: [Element]) throws {
        try self.init(count: values.count)
        for (index, value) in values.enumerated() { base[index] = value }
    }
}
