import Configs

/// A small shape in which no two sizes are equal.
func oddModel() -> ModelConfig {
    ModelConfig(numLayers: 3, dModel: 10, numHeads: 5, dFF: 14, contextLength: 7, vocabSize: 259)
}

func config(_ model: ModelConfig = oddModel(), globalBatch: Int = 12, microBatch: Int? = nil) -> RunConfig {
    var train = TrainConfig(
        steps: 10, globalBatch: globalBatch, optimizer: OptimizerConfig(learningRate: 0.1))
    train.microBatch = microBatch.map { .sequences($0) } ?? .auto
    return RunConfig(name: "odd", model: model, data: DataConfig(path: "text.txt"), train: train)
}

/// The shape whose FLOPs and parameters are known from PyTorch.
func w1(globalBatch: Int = 32) -> RunConfig {
    let model = ModelConfig(
        numLayers: 6, dModel: 384, numHeads: 6, dFF: 1536, contextLength: 256, vocabSize: 256)
    return config(model, globalBatch: globalBatch)
}

/// GPT-2 with 124 million parameters.
func gpt2(globalBatch: Int = 32) -> RunConfig {
    let model = ModelConfig(
        numLayers: 12, dModel: 768, numHeads: 12, dFF: 3072, contextLength: 1024, vocabSize: 50_257)
    return config(model, globalBatch: globalBatch)
}
