import Configs
import Cost
import Foundation
import Testing

@Suite struct ParameterCountTests {
    @Test func gpt2HasPyTorchsCount() throws {
        let model = ModelConfig(
            numLayers: 12, dModel: 768, numHeads: 12, dFF: 3072, contextLength: 1024, vocabSize: 50257)
        let count = try ParameterCount(model)
        #expect(count.total == 124_439_808)
        #expect(count.embeddings == 50257 * 768 + 1024 * 768 && count.head == 0)
    }

    @Test func w1HasPyTorchsCount() throws {
        #expect(try ParameterCount(w1().model).total == 10_844_160)
    }

    /// TinyLlama (Zhang et al. 2024): 22 layers of 2048, 32 heads of which 4 of keys, d_ff 5632, vocabulary 32,000.
    @Test func tinyLlamaHasItsPublishedCount() throws {
        var model = ModelConfig(
            numLayers: 22, dModel: 2048, numHeads: 32, dFF: 5632, contextLength: 2048, vocabSize: 32_000)
        (model.normType, model.positions, model.activation) = (.rms, .rotary, .silu)
        (model.gated, model.biases, model.tieEmbeddings, model.numKVHeads) = (true, false, false, 4)
        let count = try ParameterCount(model)
        #expect(count.total == 1_100_048_384)
        #expect(count.norms == 45 * 2048 && count.embeddings == count.head)
    }

    /// `nn.TransformerEncoder` of PyTorch, without and with a final norm.
    @Test(arguments: [
        ("encoder-512", 18_914_304, 18_915_328), ("encoder-1024", 100_798_464, 100_800_512),
    ])
    func encodersHavePyTorchsStacks(name: String, count: Int, withNorm: Int) throws {
        for (final, expected) in [(false, count), (true, withNorm)] {
            let config = try RunConfig.load(
                path: configs + "\(name).yaml", overrides: ["model.final_norm=\(final)"])
            #expect(try ParameterCount(config.model).stack == expected)
            let table = try Estimate.table(config, [try Estimate(config: config, ranks: 1)])
            #expect(table.contains(grouped(expected)))
        }
    }

    /// `nn.Transformer` of PyTorch, whose heads make no difference: 6 + 6 layers with norms behind the stacks.
    @Test(arguments: [
        ([], 44_140_544), (["model.d_model=1024"], 126_005_248), (["model.d_model=2048"], 402_980_864),
        (["model.d_model=2048", "model.d_ff=8192"], 705_044_480),
    ])
    func encoderDecodersHavePyTorchsStacks(overrides: [String], expected: Int) throws {
        let config = try RunConfig.load(path: configs + "transformer.yaml", overrides: overrides)
        #expect(try ParameterCount(config.model).stack == expected)
        let table = try Estimate.table(config, [try Estimate(config: config, ranks: 1)])
        #expect(table.contains(grouped(expected)))
    }

    /// Hugging Face's Marian, which has its sinusoids among its parameters, as many as learned positions.
    @Test func marianHasItsCount() throws {
        let config = try RunConfig.load(path: configs + "marian.yaml")
        let count = try ParameterCount(config.model)
        #expect(count.total + count.sinusoids == 60_653_568)
        #expect(count.sinusoids == 2 * 128 * 512)
        let table = try Estimate.table(config, [try Estimate(config: config, ranks: 1)])
        #expect(table.contains("60,653,568"))
        let learned = try RunConfig.load(
            path: configs + "marian.yaml", overrides: ["model.positions=learned"])
        #expect(try ParameterCount(learned.model).total == 60_653_568)
    }

    @Test(arguments: [("bert-base", 109_514_298), ("gpt2-124m", 124_439_808)])
    func shippedConfigurationsHaveTheirCount(name: String, count: Int) throws {
        let config = try RunConfig.load(path: configs + "\(name).yaml")
        #expect(try Estimate(config: config, ranks: 1).parameters == count)
    }

    private let configs = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "configs/").path()

    /// 1234567 as 1,234,567.
    private func grouped(_ number: Int) -> String {
        String(number).reversed().enumerated().reduce(into: "") { text, digit in
            text = String(digit.element) + (digit.offset > 0 && digit.offset % 3 == 0 ? "," : "") + text
        }
    }

    /// Tensor by tensor, for the odd shape.
    @Test func groupsAddUpTensorByTensor() throws {
        var model = oddModel()
        let tied = try ParameterCount(model)
        #expect(tied.embeddings == 2590 + 70)
        #expect(tied.attention == 3 * ((300 + 30) + (100 + 10)))
        #expect(tied.mlp == 3 * ((140 + 14) + (140 + 10)))
        #expect(tied.norms == 3 * (20 + 20) + 20)
        #expect(tied.total == 2660 + 1320 + 912 + 140)
        model.tieEmbeddings = false
        let untied = try ParameterCount(model)
        #expect(untied.head == 2590 && untied.total == tied.total + 2590)
    }
}

@Suite struct FLOPCountTests {
    @Test func w1WithTwoSequencesHasPyTorchsCount() throws {
        var config = w1(globalBatch: 2)
        config.model.attention = .stored
        let flops = try Estimate(config: config, ranks: 1).flops
        #expect(flops.forward == 12_180_258_816)
        #expect(flops.perStep == 36_540_776_448)
        #expect(flops.recomputed == 0 && flops.backward == 2 * flops.forward)
        // Of 256 rows in four blocks of 64, which look at 64, 128, 192 and 256 keys.
        let skipped = 256 * 256 - 64 * (64 + 128 + 192 + 256)
        #expect(flops.executed == flops.perStep - 6 * 6 * 2 * 2 * skipped * 384)
    }

    /// Every matrix product of the odd shape, as m·n·k.
    @Test func productsAddUp() throws {
        let sequences = 12
        let t = sequences * 7
        let qkv = t * 30 * 10
        let output = t * 10 * 10
        let scores = sequences * 5 * (7 * 7 * 2)
        let values = sequences * 5 * (7 * 2 * 7)
        let up = t * 14 * 10
        let down = t * 10 * 14
        let head = t * 259 * 10
        let forward = 2 * (3 * (qkv + output + scores + values + up + down) + head)
        let flops = try Estimate(config: config(), ranks: 3).flops
        #expect(flops.forward == forward)
        #expect(flops.recomputed == 2 * 3 * scores)
        #expect(flops.backward == 2 * forward + 2 * 3 * scores)
        #expect(flops.perStep == flops.forward + flops.backward)
        #expect(flops.executed == flops.perStep, "a sequence that is shorter than a block skips nothing")
    }

    @Test(arguments: [1, 63, 64, 65, 128, 200, 257], [ModelConfig.AttentionMode.recomputed, .stored])
    func blocksSpanThePairsUpToTheirLastRow(length: Int, attention: ModelConfig.AttentionMode) throws {
        var model = oddModel()
        model.contextLength = length
        model.attention = attention
        var pairs = 0
        for row in 0..<length { pairs += min(length, (row / 64 + 1) * 64) }
        let flops = try Estimate(config: config(model), ranks: 1).flops
        let products = attention == .recomputed ? 7 : 6
        #expect(flops.perStep - flops.executed == 12 * 3 * products * 2 * (length * length - pairs) * 10)
    }
}

@Suite struct OverflowTests {
    @Test(arguments: [1 << 20, 1 << 31, 1 << 40, Int.max])
    func absurdSizesThrow(size: Int) throws {
        let absurd = ModelConfig(
            numLayers: size, dModel: size, numHeads: 1, dFF: size, contextLength: size, vocabSize: size)
        for model in [absurd, oddModel()] {
            for batch in [1, size] where model == absurd || batch == Int.max {
                let error = #expect(throws: LockstepError.self) {
                    try Estimate(config: config(model, globalBatch: batch, microBatch: batch), ranks: 1)
                }
                #expect(error?.status == .badConfiguration)
            }
        }
    }
}
