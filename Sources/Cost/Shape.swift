import Configs

/// The sizes that the formulas are written in.
struct Shape {
    let layers: Count
    /// d_model.
    let h: Count
    /// Heads.
    let a: Count
    /// Width of all heads of keys, or of values, together.
    let kv: Count
    /// Width of a head.
    let d: Count
    /// d_ff.
    let f: Count
    let vocab: Count
    /// Context length, in tokens.
    let s: Count
    /// Pairs of a query and a key in one sequence that blocks of attention span. Causal, a block of q rows and all keys up
    /// to its last row: of n whole blocks and a shorter one of r rows, q²·n(n + 1)/2 + r·s. In an encoder s².
    let attendedPairs: Count

    /// Numbers in the weight matrices of a layer's attention: queries, keys and values [h + 2kv, h], output [h, h].
    var attentionWeights: Count { 2 * h * h + 2 * h * kv }
    /// And of its feed-forward: up [f, h], gated [2f, h], and down [h, f].
    let mlpWeights: Count

    init(_ model: ModelConfig) {
        layers = Count(model.numLayers)
        h = Count(model.dModel)
        a = Count(model.numHeads)
        let headWidth = model.dModel / model.numHeads
        kv = Count(model.numKVHeads) * Count(headWidth)
        d = Count(headWidth)
        f = Count(model.dFF)
        vocab = Count(model.vocabSize)
        mlpWeights = (model.gated ? 3 : 2) * h * f
        s = Count(model.contextLength)
        let block = ModelConfig.attentionBlockRows
        let (whole, rest) = model.contextLength.quotientAndRemainder(dividingBy: block)
        let (half, other) = whole % 2 == 0 ? (whole / 2, whole + 1) : (whole, whole / 2 + 1)
        attendedPairs =
            model.family == .encoder
            ? s * s : Count(block) * Count(block) * Count(half) * Count(other) + Count(rest) * s
    }
}
