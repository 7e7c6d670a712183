import Configs
import Cost
import Foundation
import Kernels
import TestSupport
import Testing
import Transformer
import TransformerTestSupport

/// Generation with a cache of keys and values against passes over all tokens.
@Suite struct GenerationTests {
    /// Logits `[s, V]` of `tokens` by a pass over all of them.
    private func fullLogits(_ network: LanguageModel, _ tokens: [Int32]) -> [[Float]] {
        tokens.withUnsafeBufferPointer { inputs in
            let batch = TokenBatch(
                inputs: inputs.baseAddress!, targets: nil, sequences: 1, length: tokens.count)
            network.forward(batch)
            return tokens.indices.map { elements(network.logits(batch, rows: $0..<$0 + 1).vector) }
        }
    }

    private func tokens(of model: FixtureModel, sequence: Int) -> [Int32] {
        let batch = model.sequence(sequence)
        return (0..<batch.length).map { batch.inputs[$0] }
    }

    @Test(arguments: TransformerFixture.decoders, [1, 2])
    func cachedLogitsAreThoseOfAFullPass(name: String, threads: Int) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let holder = try LanguageModel(
            config: model.network.config, microBatch: 1, purpose: .parameters, backend: OpenBLAS(),
            team: ThreadTeam(threads: threads))
        holder.parameters.base.update(from: model.network.parameters.base, count: holder.layout.count)
        let all = (0..<2).map { tokens(of: model, sequence: $0) }
        let expected = all.map { fullLogits(model.network, $0) }
        let cached = try CachedDecoder(holder, sequences: 2, capacity: all[0].count)
        // Prompts of different lengths, then steps of both sequences together.
        let starts = [1, 7]
        for sequence in 0..<2 {
            let start = starts[sequence]
            let logits = cached.append(Array(all[sequence][..<start]), to: sequence)
            #expect(largestDifference(logits, expected[sequence][start - 1]) < 1e-5)
        }
        for step in 0..<all[0].count - 7 {
            let logits = cached.step((0..<2).map { (all[$0][starts[$0] + step], $0) })
            for sequence in 0..<2 {
                let row = logits.rows(sequence..<sequence + 1).vector
                #expect(largestDifference(row, expected[sequence][starts[sequence] + step]) < 1e-5)
            }
        }
        // Prompts together, more rows than a piece has.
        let context = all[0].count
        let many = try CachedDecoder(holder, sequences: 40, capacity: context)
        let lengths = (0..<40).map { 1 + $0 % context }
        let together = many.append((0..<40).map { (Array(all[$0 % 2][..<lengths[$0]]), $0) })
        for sequence in 0..<40 {
            let row = together.rows(sequence..<sequence + 1).vector
            #expect(largestDifference(row, expected[sequence % 2][lengths[sequence] - 1]) < 1e-5)
        }
        // A sequence that begins anew, by pieces behind what is there.
        cached.clear(0)
        _ = cached.append(Array(all[1][..<5]), to: 0)
        let logits = cached.append(Array(all[1][5..<9]), to: 0)
        #expect(largestDifference(logits, expected[1][8]) < 1e-5)
    }

    @Test(arguments: TransformerFixture.decoders)
    func greedyTokensAreThoseOfFullPasses(name: String) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let context = model.network.config.contextLength
        var window = Array(tokens(of: model, sequence: 1).prefix(3))
        let cached = try CachedDecoder(model.network, sequences: 1, capacity: context)
        var generator = Generator(
            decoder: cached, prompts: [window], sampling: Sampling(temperature: 0, seed: 1))
        // Beyond the context: then the newer half goes on.
        for _ in 0..<context + 5 {
            if window.count > context { window = Array(window.suffix(context / 2)) }
            let logits = fullLogits(model.network, window)[window.count - 1]
            let expected = Int32(logits.indices.max { logits[$0] < logits[$1] }!)
            #expect(generator.next().map(\.token) == [expected])
            window.append(expected)
        }
    }

    /// Every arena is as large as was estimated.
    @Test(arguments: TransformerFixture.decoders, [false, true])
    func memoryIsAsEstimated(name: String, rounds: Bool) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        for (sequences, length, threads) in [(1, 1, 1), (3, 9, 2), (40, 12, 1)] {
            let holder = try LanguageModel(
                config: model.network.config, microBatch: 1, purpose: .parameters, backend: OpenBLAS(),
                team: ThreadTeam(threads: threads))
            let cached = try CachedDecoder(holder, sequences: sequences, capacity: length, rounds: rounds)
            let estimate = try InferenceFootprint(
                holder.config,
                InferenceShape(sequences: sequences, length: length, threads: threads, rounds: rounds))
            let arenas = cached.arenaBytes
            #expect(arenas.cache == estimate.cache)
            #expect(arenas.workspace == estimate.workspace)
            #expect(arenas.halves == estimate.halves)
            #expect(holder.arenaBytes.parameters == estimate.parameters)
            #expect(holder.arenaBytes.activations + holder.arenaBytes.workspace == 0)
        }
    }

    @Test(arguments: TransformerFixture.decoders)
    func memoryOfDraftsIsAsEstimated(name: String) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let cached = try CachedDecoder(model.network, sequences: 1, capacity: 11, drafts: 3)
        let estimate = try InferenceFootprint(
            model.network.config, InferenceShape(sequences: 1, length: 11, threads: 1, drafts: 3))
        let arenas = cached.arenaBytes
        #expect(arenas.drafts == estimate.drafts && arenas.drafts > 0)
        #expect(arenas.cache == estimate.cache && arenas.workspace == estimate.workspace)
    }

    /// What is proposed and checked is what single steps choose, also at random, and beyond the context.
    @Test(
        arguments: TransformerFixture.decoders,
        [Sampling(temperature: 0, seed: 1), Sampling(temperature: 1.5, topP: 0.95, seed: 7)])
    func draftsChangeNoToken(name: String, sampling: Sampling) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let context = model.network.config.contextLength
        let prompt = Array(tokens(of: model, sequence: 1).prefix(3))
        func text(drafts: Int) throws -> (tokens: [Int32], generator: Generator) {
            let cached = try CachedDecoder(model.network, sequences: 1, capacity: context, drafts: drafts)
            var generator = Generator(decoder: cached, prompts: [prompt], sampling: sampling)
            let count = 2 * context
            let tokens = (0..<count).map { generator.next(of: count - $0)[0].token }
            return (tokens, generator)
        }
        let expected = try text(drafts: 0)
        #expect(expected.generator.draftChecks == 0)
        for drafts in [1, 4] {
            let found = try text(drafts: drafts)
            #expect(found.tokens == expected.tokens)
            // Some proposals were right.
            #expect(found.generator.draftTokens > found.generator.draftChecks)
        }
    }

    /// Also where hardly any proposal is right: weights that 8 bits hold badly.
    @Test func wrongDraftsChangeNoToken() throws {
        let model = try FixtureModel("small", attention: .recomputed)
        let network = model.network
        // One number of each row is so large that the others become multiples of nothing.
        for tensor in network.layout.tensors where tensor.kind == .matrix || tensor.kind == .embedding {
            for row in 0..<tensor.slot.rows {
                network.parameters.base[tensor.slot.offset + row * tensor.slot.columns] += 200
            }
        }
        let prompt = Array(tokens(of: model, sequence: 0).prefix(4))
        func text(drafts: Int) throws -> (tokens: [Int32], proposed: [Int], generator: Generator) {
            let cached = try CachedDecoder(
                network, sequences: 1, capacity: network.config.contextLength, drafts: drafts)
            var generator = Generator(
                decoder: cached, prompts: [prompt], sampling: Sampling(temperature: 0, seed: 1))
            var (tokens, proposed) = ([Int32](), [Int]())
            for _ in 0..<8 {
                tokens.append(generator.next()[0].token)
                proposed.append(generator.proposed)
            }
            return (tokens, proposed, generator)
        }
        let (expected, found) = (try text(drafts: 0), try text(drafts: 3))
        #expect(found.tokens == expected.tokens)
        #expect(found.generator.draftTokens < 3 * found.generator.draftChecks)
        // Behind a check of which nothing was right, as estimates of the slowest text have it.
        #expect(found.proposed.contains(2) && !found.proposed.contains(1))
    }

    /// Rounding weights to bf16 changes logits, and little.
    @Test(arguments: ["small", "llama"])
    func roundedWeightsChangeLogitsALittle(name: String) throws {
        let model = try FixtureModel(name, attention: .recomputed)
        let tokens = tokens(of: model, sequence: 0)
        let cached = try CachedDecoder(model.network, sequences: 1, capacity: tokens.count, rounds: true)
        var found: [[Float]] = []
        for token in tokens { found.append(elements(cached.step([(token, 0)]).vector)) }
        let expected = fullLogits(model.network, tokens)
        let difference = zip(found.last!, expected.last!).map { abs($0 - $1) }.max()!
        #expect(difference > 0 && difference < 0.05 * expected.last!.map(abs).max()!)
    }

    private func withLogits<R>(_ values: [Float], _ body: (Vector) throws -> R) throws -> R {
        let buffer = try AlignedBuffer<Float>(count: values.count)
        for (index, value) in values.enumerated() { buffer.base[index] = value }
        return try body(buffer.vector)
    }

    /// Relative frequencies of 20,000 draws.
    private func frequencies(_ values: [Float], _ sampling: Sampling) throws -> [Double] {
        try withLogits(values) { logits in
            var random = SplitMix64(seed: 3)
            var counts = [Int](repeating: 0, count: values.count)
            for _ in 0..<20_000 { counts[Int(sampling.choose(logits, &random))] += 1 }
            return counts.map { Double($0) / 20_000 }
        }
    }

    private typealias SplitMix64 = Transformer.SplitMix64

    @Test func tokensAreDrawnByTheirProbabilities() throws {
        let logits: [Float] = [0.5, 2, -1, 1.25, 1.2]
        func expected(_ kept: Set<Int>, temperature: Double) -> [Double] {
            let weights = logits.indices.map {
                kept.contains($0) ? exp(Double(logits[$0]) / temperature) : 0
            }
            return weights.map { $0 / weights.reduce(0, +) }
        }
        // Probabilities at 1: 0.110, 0.491, 0.024, 0.232, 0.221 (rounded).
        let cases: [(Sampling, Set<Int>)] = [
            (Sampling(temperature: 1, seed: 1), [0, 1, 2, 3, 4]),
            (Sampling(temperature: 0.5, seed: 1), [0, 1, 2, 3, 4]),
            (Sampling(temperature: 1, topK: 3, seed: 1), [1, 3, 4]),
            (Sampling(temperature: 1, topP: 0.6, seed: 1), [1, 3]),
            (Sampling(temperature: 1, topP: 0.4, seed: 1), [1]),
            (Sampling(temperature: 1, topK: 2, topP: 0.99, seed: 1), [1, 3]),
            (Sampling(temperature: 1, topK: 1, seed: 1), [1]),
            (Sampling(temperature: 0, seed: 1), [1]),
            (Sampling(temperature: 1, topP: 1, seed: 1), [0, 1, 2, 3, 4]),
        ]
        for (sampling, kept) in cases {
            let temperature = sampling.temperature == 0 ? 1 : sampling.temperature
            let expected = expected(kept, temperature: temperature)
            for (found, expected) in zip(try frequencies(logits, sampling), expected) {
                // Four standard deviations.
                let allowed = 4 * (expected * (1 - expected) / 20_000).squareRoot()
                #expect(abs(found - expected) <= allowed, "\(sampling)")
            }
        }
    }

    @Test func ofEqualLogitsTheFirstIsGreedy() throws {
        try withLogits([1, 3, 2, 3]) { logits in
            var random = SplitMix64(seed: 1)
            #expect(Sampling(temperature: 0, seed: 1).choose(logits, &random) == 1)
            #expect(Sampling(temperature: 1, topK: 1, seed: 1).choose(logits, &random) == 1)
        }
    }

    /// With as many beams as there are prefixes nothing is left out, so that the best is the best of all.
    @Test func beamSearchFindsWhatAnExhaustiveSearchFinds() throws {
        let config = ModelConfig(
            numLayers: 2, dModel: 16, numHeads: 2, dFF: 24, contextLength: 8, vocabSize: 5)
        let network = try LanguageModel(
            config: config, microBatch: 1, purpose: .inference, backend: OpenBLAS())
        network.initialize(seed: 4)
        Reductions.scale(network.parameters, by: 12)
        let prompt: [Int32] = [3, 1]
        var all: [(tokens: [Int32], logProbability: Double)] = []
        for number in 0..<125 {
            let continuation = [number / 25, number / 5 % 5, number % 5].map(Int32.init)
            let logits = fullLogits(network, prompt + continuation)
            var sum = 0.0
            for (index, token) in continuation.enumerated() {
                let row = logits[prompt.count - 1 + index].map(Double.init)
                let largest = row.max()!
                sum += row[Int(token)] - largest - log(row.reduce(0) { $0 + exp($1 - largest) })
            }
            all.append((continuation, sum))
        }
        all.sort { $0.logProbability > $1.logProbability }
        let cached = try CachedDecoder(network, sequences: 25, capacity: 8)
        let found = BeamSearch(decoder: cached, beams: 25).search(prompt, count: 3)
        #expect(found.map(\.tokens) == all.prefix(25).map(\.tokens))
        for (found, expected) in zip(found, all) {
            #expect(abs(found.logProbability - expected.logProbability) < 1e-4)
        }
        // One beam is greedy.
        let greedy = BeamSearch(decoder: cached, beams: 1).search(prompt, count: 3)
        var generator = Generator(
            decoder: cached, prompts: [prompt], sampling: Sampling(temperature: 0, seed: 1))
        #expect(greedy[0].tokens == (0..<3).map { _ in generator.next()[0].token })
    }
}
