import Configs
import Kernels
import Testing
import Training

@Suite struct TokenMaskingTests {
    private let length = 64

    private func config(_ change: (inout RunConfig) -> Void = { _ in }) -> RunConfig {
        var model = ModelConfig(
            numLayers: 1, dModel: 8, numHeads: 1, dFF: 8, contextLength: length, vocabSize: 1000)
        model.family = .encoder
        var config = RunConfig(
            name: "m", model: model, data: DataConfig(path: "m"),
            train: TrainConfig(steps: 1, globalBatch: 1, optimizer: OptimizerConfig(learningRate: 1)))
        change(&config)
        return config
    }

    /// Sequence `position` of tokens 0 ..< 64 after masking: what the model sees, and what it is to predict.
    private func masked(_ masking: TokenMasking, position: Int, length: Int = 64) -> ([Int32], [Int32]) {
        var inputs = (0..<length).map { Int32($0) }
        var targets = [Int32](repeating: 7, count: length)
        inputs.withUnsafeMutableBufferPointer { inputs in
            targets.withUnsafeMutableBufferPointer { targets in
                masking.apply(
                    inputs: inputs.baseAddress!, targets: targets.baseAddress!, length: length,
                    position: position)
            }
        }
        return (inputs, targets)
    }

    @Test func fifteenPercentAreChosenAndMostOfThemMasked() throws {
        let masking = try #require(TokenMasking(config()))
        var (chosen, replaced, random, kept) = (0, 0, 0, 0)
        let sequences = 4000
        var drawn = Set<Int32>()
        for position in 0..<sequences {
            let (inputs, targets) = masked(masking, position: position)
            for index in 0..<length {
                guard targets[index] != CrossEntropy.ignoredTarget else {
                    #expect(inputs[index] == Int32(index))
                    continue
                }
                #expect(targets[index] == Int32(index))
                chosen += 1
                switch inputs[index] {
                case 999: replaced += 1
                case Int32(index): kept += 1
                default:
                    random += 1
                    #expect((0..<1000).contains(inputs[index]))
                    drawn.insert(inputs[index])
                }
            }
        }
        // Of 1000 tokens, with 3,840 draws.
        #expect(drawn.count > 900)
        // Five standard deviations of 256,000 and 38,400 draws.
        let share = Double(chosen) / Double(sequences * length)
        #expect(abs(share - 0.15) < 0.004)
        #expect(abs(Double(replaced) / Double(chosen) - 0.8) < 0.011)
        #expect(abs(Double(random) / Double(chosen) - 0.1) < 0.008)
        #expect(abs(Double(kept) / Double(chosen) - 0.1) < 0.008)
    }

    @Test func masksAreThoseOfTheSeedAndThePosition() throws {
        let masking = try #require(TokenMasking(config()))
        let other = try #require(TokenMasking(config { $0.train.seed = 2 }))
        #expect(masked(masking, position: 5) == masked(masking, position: 5))
        #expect(masked(masking, position: 5) != masked(masking, position: 6))
        #expect(masked(masking, position: 5) != masked(other, position: 5))
        #expect(masked(masking, position: 5) != masked(masking, position: 5 + 1 << 32))
    }

    @Test func everySequenceHasSomethingToPredict() throws {
        let masking = try #require(TokenMasking(config { $0.train.maskFraction = 1e-9 }))
        var places = Set<Int>()
        for position in 0..<200 {
            let (_, targets) = masked(masking, position: position, length: 10)
            let chosen = targets.indices.filter { targets[$0] != CrossEntropy.ignoredTarget }
            #expect(chosen.count == 1)
            places.formUnion(chosen)
        }
        #expect(places.count == 10)
    }

    @Test func theMaskTokenIsThatOfTheConfiguration() throws {
        let masking = try #require(TokenMasking(config { $0.data.maskToken = 500 }))
        let seen = (0..<20).flatMap { masked(masking, position: $0).0 }
        // Any token may be drawn as a random one.
        #expect(seen.count { $0 == 500 } > 100 && seen.count { $0 == 999 } < 5)
        #expect(TokenMasking(config { $0.model.family = .decoder }) == nil)
    }
}
