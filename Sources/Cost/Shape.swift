import Configs

/// The sizes that the formulas are written in.
struct Shape {
    let layers: Count
    /// d_model.
    let h: Count
    /// Heads.
    let a: Count
    /// d_ff.
    let f: Count
    let vocab: Count
    /// Context length, in tokens.
    let s: Count

    init(_ model: ModelConfig) {
        layers = Count(model.numLayers)
        h = Count(model.dModel)
        a = Count(model.numHeads)
        f = Count(model.dFF)
        vocab = Count(model.vocabSize)
        s = Count(model.contextLength)
    }
}
