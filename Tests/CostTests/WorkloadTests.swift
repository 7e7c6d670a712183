import Configs
import Cost
import CostTestSupport
import Testing

@Suite struct WorkloadTests {
    /// Two derivations: the list of products, and the closed formula.
    @Test(arguments: [1, 2, 3], [ModelConfig.AttentionMode.recomputed, .stored])
    func productsAddUpToTheFLOPs(microBatch: Int, attention: ModelConfig.AttentionMode) throws {
        try productsAddUp(microBatch: microBatch, attention: attention, activations: .fp32)
        try productsAddUp(microBatch: microBatch, attention: attention, activations: .bf16)
    }

    private func productsAddUp(
        microBatch: Int, attention: ModelConfig.AttentionMode,
        activations: PrecisionConfig.ActivationFormat
    ) throws {
        var config = config(globalBatch: 6, microBatch: microBatch)
        config.model.attention = attention
        config.precision.activations = activations
        for (context, source, vocabulary) in [(7, 0, 259), (64, 0, 300), (600, 0, 1000), (130, 70, 300)] {
            config.model.contextLength = context
            config.model.vocabSize = vocabulary
            if source > 0 {
                (config.model.family, config.model.encoderLayers) = (.encoderDecoder, 2)
                config.model.sourceLength = source
            }
            let flops = try Estimate(config: config, ranks: 1).flops
            let workload = Workload(config, microBatch: microBatch, sequencesPerRank: 6)
            let layers =
                Double(config.model.numLayers) * workload.backwardOfLayer.flops
                + Double(config.model.encoderLayers) * workload.backwardOfEncoderLayer.flops
            let pass = workload.forward.flops + workload.head.flops + layers
            #expect(Double(workload.microBatches) * pass == Double(flops.executed))
            // The head's forward product is counted where its loss is.
            let evaluated = workload.forward.flops + workload.evaluationHead.flops
            let skipped = (flops.perStep - flops.executed) / (attention == .recomputed ? 7 : 6) * 2
            #expect(Double(workload.microBatches) * evaluated == Double(flops.forward - skipped))
        }
    }

    /// Two branches of each of three layers, the sum of one taken by whichever norm is next.
    @Test(arguments: [
        (ModelConfig.NormPlacement.pre, true, plain: 1, ofSums: 6, sums: 0), (.pre, false, 1, 5, 1),
        (.post, true, 1, 6, 0), (.post, false, 0, 6, 0),
    ])
    func normsTakeResidualSums(
        norm: ModelConfig.NormPlacement, hasFinal: Bool, plain: Int, ofSums: Int, sums: Int
    ) {
        for (type, kernels) in [
            (ModelConfig.NormType.layer, (RowKernel.layerNormForward, RowKernel.layerNormOfSum)),
            (.rms, (.rmsNormForward, .rmsNormOfSum)),
        ] {
            var config = config(globalBatch: 6, microBatch: 2)
            config.model.numLayers = 3
            (config.model.norm, config.model.normType, config.model.finalNorm) = (norm, type, hasFinal)
            let work = Workload(config, microBatch: 2, sequencesPerRank: 6).forward
            func count(_ kernel: RowKernel) -> Int {
                work.rows.reduce(0) { $0 + ($1.kernel == kernel ? $1.count : 0) }
            }
            #expect(count(kernels.0) == plain)
            #expect(count(kernels.1) == ofSums)
            #expect(count(.residualAdd) == sums)
        }
    }
}
