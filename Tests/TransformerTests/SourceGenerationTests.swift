import Configs
import Cost
import Foundation
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Targets that an encoder–decoder makes of sources with caches, against passes over everything.
@Suite struct SourceGenerationTests {
    private static let names = ["marian", "seq2seq-pre"]

    private func source(_ model: FixtureModel, _ sequence: Int) -> [Int32] {
        guard let source = model.sequence(sequence).source else { return [] }
        return (0..<source.visible).map { source.tokens[$0] }
    }

    private func target(_ model: FixtureModel, _ sequence: Int) -> [Int32] {
        let batch = model.sequence(sequence)
        return (0..<batch.length).map { batch.inputs[$0] }
    }

    /// Logits `[s, V]` of `target` behind `source`.
    private func fullLogits(_ network: LanguageModel, _ source: [Int32], _ target: [Int32]) -> [[Float]] {
        source.withUnsafeBufferPointer { source in
            target.withUnsafeBufferPointer { inputs in
                let batch = TokenBatch(
                    inputs: inputs.baseAddress!, targets: nil, sequences: 1, length: inputs.count,
                    source: TokenBatch.Source(tokens: source.baseAddress!, length: source.count))
                network.forward(batch)
                return inputs.indices.map { elements(network.logits(batch, rows: $0..<$0 + 1).vector) }
            }
        }
    }

    @Test(arguments: names, [1, 2])
    func cachedLogitsAreThoseOfAFullPass(name: String, threads: Int) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let holder = try LanguageModel(
            config: model.network.config, microBatch: 1, purpose: .parameters, backend: OpenBLAS(),
            team: ThreadTeam(threads: threads))
        for index in 0..<model.network.layout.count {
            holder.parameters[index] = model.network.parameters[index]
        }
        let cached = try CachedDecoder(holder, sequences: 2, capacity: holder.config.contextLength)
        let sequences = [0, 1]
        let (sources, targets) = (sequences.map { source(model, $0) }, sequences.map { target(model, $0) })
        let expected = sequences.map { fullLogits(model.network, sources[$0], targets[$0]) }
        cached.look(at: sequences.map { (sources[$0], $0) })
        // The first is read, the second is written token by token.
        let read = cached.append(Array(targets[0].prefix(5)), to: 0)
        #expect(largestDifference(read, expected[0][4]) < 1e-5)
        for (position, token) in targets[1].enumerated() {
            let logits = cached.step([(token, 1)])
            #expect(largestDifference(logits.vector, expected[1][position]) < 1e-5, "position \(position)")
        }
        // Another source.
        cached.look(at: [(sources[1], 0)])
        let again = cached.step([(targets[1][0], 0)])
        #expect(largestDifference(again.vector, expected[1][0]) < 1e-5)
    }

    /// Kinds that no fixture has, and more sources than go through the encoder together, one of them the longest.
    @Test(arguments: [1, 3])
    func allKindsAreThoseOfAFullPass(threads: Int) throws {
        var config = ModelConfig(
            numLayers: 2, dModel: 32, numHeads: 4, dFF: 24, contextLength: 8, vocabSize: 41)
        (config.family, config.encoderLayers, config.sourceLength) = (.encoderDecoder, 3, 150)
        (config.normType, config.positions, config.numKVHeads) = (.rms, .rotary, 2)
        (config.gated, config.activation, config.biases) = (true, .silu, false)
        (config.shareEmbeddings, config.tieEmbeddings) = (false, false)
        let network = try LanguageModel(
            config: config, microBatch: 1, purpose: .inference, backend: OpenBLAS(),
            team: ThreadTeam(threads: threads))
        network.initialize(seed: 3)
        for tensor in network.layout.tensors where tensor.shape.count == 2 {
            RandomNormal.fill(
                network.parameters.slice(tensor.range), standardDeviation: 0.3, seed: 5,
                stream: tensor.slot.offset)
        }
        let sources = [100, 30, 150, 1, 64, 65, 20].map { length in
            (0..<length).map { Int32(($0 * 7 + length) % 41) }
        }
        let target: [Int32] = [2, 9, 40, 0, 17]
        let cached = try CachedDecoder(network, sequences: sources.count, capacity: 8)
        cached.look(at: sources.enumerated().map { ($1, $0) })
        for (position, token) in target.enumerated() {
            let logits = cached.step(sources.indices.map { (token, $0) })
            let all = sources.indices.map { elements(logits.rows($0..<$0 + 1).vector) }
            for (source, logits) in zip(sources, all) {
                let expected = fullLogits(network, source, target)[position]
                let difference = zip(logits, expected).map { abs($0 - $1) }.max() ?? 1
                #expect(difference < 2e-4, "position \(position) of \(source.count) tokens")
            }
        }
    }

    /// With as many beams as tokens, a search of two finds the most likely of all targets that end, or go on.
    @Test(arguments: names)
    func beamsEndWithTheirTargets(name: String) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let (network, source) = (model.network, source(model, 0))
        let vocabulary = network.config.vocabSize
        let (start, end): (Int32, Int32) = (3, 7)
        func logProbabilities(_ target: [Int32]) -> [Double] {
            let logits = fullLogits(network, source, target)[target.count - 1].map(Double.init)
            let total = log(logits.reduce(0) { $0 + exp($1) })
            return logits.map { $0 - total }
        }
        let first = logProbabilities([start])
        var all: [(tokens: [Int32], logProbability: Double)] = [([end], first[Int(end)])]
        for token in 0..<Int32(vocabulary) where token != end {
            for (next, logProbability) in logProbabilities([start, token]).enumerated() {
                all.append(([token, Int32(next)], first[Int(token)] + logProbability))
            }
        }
        all.sort { $0.logProbability > $1.logProbability }
        let decoder = try CachedDecoder(network, sequences: vocabulary, capacity: 4)
        decoder.look(at: (0..<vocabulary).map { (source, $0) })
        let found = BeamSearch(decoder: decoder, beams: vocabulary).search([start], count: 2, end: end)
        #expect(found[0].tokens == all[0].tokens)
        #expect(abs(found[0].logProbability - all[0].logProbability) < 1e-4)
        let ended = found.filter { $0.tokens.count < 2 }
        #expect(ended.allSatisfy { $0.tokens == [end] } && ended.count <= 1)
    }

    @Test(arguments: names, [false, true])
    func memoryIsAsEstimated(name: String, rounds: Bool) throws {
        let config = try FixtureModel(name, attention: .recomputed).network.config
        for (sequences, length, threads) in [(1, 1, 1), (3, 9, 2), (40, 12, 1)] {
            let holder = try LanguageModel(
                config: config, microBatch: 1, purpose: .parameters, backend: OpenBLAS(),
                team: ThreadTeam(threads: threads))
            let cached = try CachedDecoder(holder, sequences: sequences, capacity: length, rounds: rounds)
            let estimate = try InferenceFootprint(
                config,
                InferenceShape(sequences: sequences, length: length, threads: threads, rounds: rounds))
            let arenas = cached.arenaBytes
            #expect(arenas.cache == estimate.cache)
            #expect(arenas.workspace == estimate.workspace)
            #expect(arenas.halves == estimate.halves)
            #expect(holder.arenaBytes.parameters == estimate.parameters)
            #expect(holder.arenaBytes.activations + holder.arenaBytes.workspace == 0)
        }
    }

    /// What is proposed and checked is what single steps choose, with arenas as estimated.
    @Test(arguments: names)
    func draftsChangeNoTarget(name: String) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let (config, source) = (model.network.config, source(model, 0))
        let context = config.contextLength
        func target(drafts: Int) throws -> (tokens: [Int32], generator: Generator) {
            let cached = try CachedDecoder(model.network, sequences: 1, capacity: context, drafts: drafts)
            let estimate = try InferenceFootprint(
                config, InferenceShape(sequences: 1, length: context, threads: 1, drafts: drafts))
            #expect(cached.arenaBytes.drafts == estimate.drafts && (drafts > 0) == (estimate.drafts > 0))
            #expect(cached.arenaBytes.workspace == estimate.workspace)
            cached.look(at: [(source, 0)])
            var generator = Generator(
                decoder: cached, prompts: [[3]], sampling: Sampling(temperature: 1, seed: 5))
            return ((0..<context).map { _ in generator.next()[0].token }, generator)
        }
        let (expected, found) = (try target(drafts: 0), try target(drafts: 3))
        #expect(found.tokens == expected.tokens)
        #expect(found.generator.draftTokens > found.generator.draftChecks)
    }
}

extension TokenBatch.Source {
    /// Tokens of the first source that are no padding.
    fileprivate var visible: Int { lengths.map { Int($0[0]) } ?? length }
}
