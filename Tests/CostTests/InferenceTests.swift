import Configs
import Cost
import CostTestSupport
import Foundation
import Testing

@Suite struct InferenceTests {
    private let model: ModelConfig = {
        var model = ModelConfig(
            numLayers: 3, dModel: 64, numHeads: 4, dFF: 200, contextLength: 512, vocabSize: 1000)
        model.numKVHeads = 2
        return model
    }()

    private func passes(_ lengths: [Int]) -> [InferencePass] {
        InferencePass.prompts(model, lengths: lengths)
    }

    /// Prompts go through in pieces of 128 rows, one behind the other, and the head is for the last token of each.
    @Test func promptsAreCutIntoPieces() {
        let all = passes([200, 1, 127, 60])
        #expect(all.map(\.rows) == [128, 128, 128, 4])
        #expect(all.map(\.headRows) == [0, 0, 0, 4])
        // Query rows by the keys up to their block's last: 128·128, then 72·200 + 1 + 55·55, 72·127 + 56·56, and 4·60.
        let pairs = [128 * 128, 72 * 200 + 1 + 55 * 55, 72 * 127 + 56 * 56, 4 * 60]
        #expect(all.map(\.attended) == pairs.map { Double($0 * 2 * 64 * 3) })
        #expect(passes([128]).map(\.rows) == [128] && passes([128])[0].headRows == 1)
    }

    /// Weights of the layers' and head's products: all parameters but embeddings, norms and biases.
    @Test func weightsAreThoseOfTheProducts() throws {
        let step = InferencePass.step(model, sequences: 5, position: 99)
        let perLayer = 64 * 64 + 64 * 64 + 2 * 64 * 32 + 2 * 64 * 200
        #expect(step.layerWeights == Double(3 * perLayer) && step.headWeights == Double(64 * 1000))
        #expect(step.attended == Double(5 * 100 * 2 * 64 * 3))
        let cached = 5 * 100 * 2 * 32 * 3
        #expect(step.footprint == Double(4 * (3 * perLayer + 64_000 + cached)))
    }

    private var pairModel: ModelConfig {
        var model = model
        (model.family, model.encoderLayers, model.sourceLength) = (.encoderDecoder, 5, 200)
        return model
    }

    /// Whole sources go through the encoder, and its output through the decoder's maps of keys and values.
    @Test func sourcesAreEncodedWhole() {
        let passes = InferencePass.sources(pairModel, lengths: [150, 50, 60, 100, 101])
        #expect(passes.map(\.rows) == [200, 160, 101])
        let pairs = [150 * 150 + 50 * 50, 60 * 60 + 100 * 100, 101 * 101]
        #expect(passes.map(\.attended) == pairs.map { Double($0 * 2 * 64 * 5) })
        let perLayer = 2 * 64 * 64 + 2 * 64 * 32 + 2 * 64 * 200
        let weights = 5 * perLayer + 3 * 2 * 64 * 32
        #expect(passes.allSatisfy { $0.layerWeights == Double(weights) && $0.headWeights == 0 })
        #expect(InferencePass.sources(pairModel, lengths: []).isEmpty)
    }

    /// A step reads the weights of queries and outputs to the source, and its keys and values.
    @Test func stepsLookAtSources() {
        let step = InferencePass.step(
            pairModel, sequences: 2, position: 9, sourceTokens: 70)
        let perLayer = 2 * 64 * 64 + 2 * 64 * 32 + 2 * 64 * 200 + 2 * 64 * 64
        #expect(step.layerWeights == Double(3 * perLayer))
        #expect(step.attended == Double(2 * 10 * 2 * 64 * 3))
        #expect(step.attendedOfSources == Double(70 * 2 * 64 * 3))
        let cached = (2 * 10 + 70) * 2 * 32 * 3
        #expect(step.footprint == Double(4 * (3 * perLayer + 64_000 + cached)))
        let first = InferencePass.prompts(pairModel, lengths: [1, 1], sources: [30, 40])
        #expect(first.count == 1 && first[0].rows == 2 && first[0].headRows == 2)
        #expect(first[0].attendedOfSources == Double(70 * 2 * 64 * 3))
    }

    /// On the made-up machine, where a target's first token comes behind the encoder's pass.
    @Test func sourcesTakeTime() throws {
        let profile = Profile.uniform(layouts: [(1, 1)])
        func estimate(_ source: Int) throws -> InferenceEstimate {
            try InferenceEstimate(
                pairModel, InferenceShape(sequences: 1, length: 20, threads: 1), prompts: [1],
                sources: [source], profile: profile)
        }
        let (short, long) = (try estimate(10), try estimate(200))
        #expect(short.memory == long.memory)
        let pass = InferencePass.sources(pairModel, lengths: [200])[0]
        // Products of 200 rows take longer than their weights' way from memory.
        let products = 2 * 200 * pass.layerWeights / 1e11 + 2 * pass.attended / 1e11
        let begin = try #require(long.time.prompt)
        #expect(begin > products && begin < products + 2 * (long.time.step ?? 0))
        #expect(try #require(short.time.step) < #require(long.time.step))
        #expect(try long.json().contains("\"source_tokens\" : ["))
    }

    /// On a machine whose memory gives 20 GB/s and whose products take no time.
    @Test func aStepTakesAsLongAsItsBytes() throws {
        let profile = Profile.uniform(layouts: [(1, 1)])
        let shape = InferenceShape(sequences: 1, length: 101, threads: 1)
        let estimate = try InferenceEstimate(model, shape, prompts: [99], profile: profile)
        let step = InferencePass.step(model, sequences: 1, position: 99)
        let bytes = 4 * (step.layerWeights + step.headWeights + step.attended)
        let token = try #require(estimate.time.step)
        #expect(abs(token / (bytes / 2e10) - 1) < 1e-9)
        let prompt = try #require(estimate.time.prompt)
        #expect(abs(try #require(estimate.time.tokensPerSecond) * (prompt + token) / 2 - 1) < 1e-9)
        var rounded = shape
        rounded.rounds = true
        let half = try InferenceEstimate(model, rounded, prompts: [99], profile: profile)
        #expect(try #require(half.time.step) < 0.7 * token)
        #expect(half.memory.rounded == 2 * half.parameterCount)
        #expect(half.memory.peak == half.memory.arenas + 30 << 20)
    }

    /// A round reads the weights once in 8 bits for each draft and once as they are.
    @Test func draftsTakeAsLongAsTheirBytes() throws {
        let profile = Profile.uniform(layouts: [(1, 1)])
        let shape = InferenceShape(sequences: 1, length: 101, threads: 1, drafts: 3)
        let estimate = try InferenceEstimate(model, shape, prompts: [100], profile: profile)
        let weights = (0..<3).map { InferencePass.step(model, sequences: 1, position: 100 + $0) }
        let check = InferencePass.step(model, sequences: 1, tokens: 4, position: 100)
        let drafted: Double = weights.reduce(0) { $0 + $1.layerWeights + $1.headWeights + 4 * $1.attended }
        let checked = 4 * (check.layerWeights + check.headWeights + check.attended)
        // Four rows of products take longer than the bytes of one in this profile, by less than a third.
        let ratio = try #require(estimate.time.step) / ((drafted + checked) / 2e10)
        #expect(ratio > 1 - 1e-9 && ratio < 4.0 / 3)
        // Of 101, 102, 103 and 104 keys.
        #expect(check.attended == Double(410 * 2 * 64 * 3))
        let outputs = 3 * (3 * 64 + 2 * 32 + 200) + 1000
        #expect(
            Double(estimate.memory.drafts) == check.layerWeights + check.headWeights + 4 * Double(outputs))
        let longer = try InferenceEstimate(model, shape, prompts: [60], profile: profile).time
        #expect(try #require(longer.tokensPerSecondAtLeast) < #require(longer.tokensPerSecond))
        var large = model
        (large.numLayers, large.dModel, large.dFF) = (12, 384, 1536)
        #expect(InferenceShape.usualDrafts(large, sequences: 1) == 5)
        #expect(InferenceShape.usualDrafts(large, sequences: 2) == 0)
        #expect(InferenceShape.usualDrafts(model, sequences: 1) == 0)
    }

    @Test func longerTextsAndMoreOfThemTakeLonger() throws {
        func token(_ sequences: Int, _ length: Int) throws -> Double {
            let estimate = try InferenceEstimate(
                model, InferenceShape(sequences: sequences, length: length, threads: 1),
                prompts: Array(repeating: 10, count: sequences), profile: .uniform(layouts: [(1, 1)]))
            return try #require(estimate.time.step)
        }
        let (one, longer, more) = (try token(1, 64), try token(1, 512), try token(400, 64))
        #expect(one < longer && one < more && more < 400 * one)
    }

    @Test func withoutAProfileTimesAreUnknown() throws {
        let estimate = try InferenceEstimate(
            model, InferenceShape(sequences: 2, length: 20, threads: 1), prompts: [3, 7], profile: nil)
        let json = try JSONSerialization.jsonObject(with: Data(estimate.json().utf8)) as? [String: Any]
        let time = try #require(json?["time"] as? [String: Any])
        #expect(
            time.keys.sorted() == [
                "prompt", "step", "tokens_per_second", "tokens_per_second_at_least", "uncertainty",
            ])
        #expect(time.values.allSatisfy { $0 is NSNull })
        #expect(json?["prompt_tokens"] as? [Int] == [3, 7])
        let config = RunConfig(
            name: "small", model: model, data: DataConfig(path: "x"),
            train: TrainConfig(
                steps: 1, globalBatch: 1, optimizer: OptimizerConfig(name: .sgd, learningRate: 1)))
        let table = estimate.table(config)
        #expect(table.contains("2 sequences of 20 tokens, prompts of 3 to 7 tokens"))
        #expect(table.contains("not calibrated"))
    }

    /// Coefficients are found from whole passes that have them.
    @Test func correctionsAreFound() throws {
        var inference = try #require(Profile.uniform(layouts: [(1, 1)]).layouts[0].inference)
        var points: [(pass: InferencePass, seconds: Double)] = []
        for layers in [1, 4, 9] {
            for position in [7, 500] {
                var model = model
                model.numLayers = layers
                let pass = InferencePass.step(model, sequences: 1, position: position)
                let bytes = 4 * (pass.layerWeights + pass.headWeights + pass.attended)
                points.append((pass, bytes / 2e10 + 3e-6 * Double(layers)))
            }
        }
        inference.steps = .init(points, inference)
        #expect(inference.steps.scatter < 0.02)
        #expect(abs(inference.steps.coefficients[0] / 3e-6 - 1) < 0.1)
    }

    @Test func damagedFiguresAreNamed() throws {
        var profile = Profile.uniform(layouts: [(1, 1)])
        #expect(profile.fault == nil)
        profile.layouts[0].inference?.attention = []
        #expect(profile.fault?.contains("inference") == true)
    }
}
