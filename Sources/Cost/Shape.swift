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
    /// A stack of blocks.
    struct Stack {
        let layers: Count
        /// Tokens of a sequence.
        let s: Count
        /// Pairs of a query and a key in one sequence that blocks of self-attention span. Causal, a block of q rows and all
        /// keys up to its last row: of n whole blocks and a shorter one of r rows, q²·n(n + 1)/2 + r·s. In an encoder s².
        let attendedPairs: Count
        /// Tokens of a source that its queries look at, too; 0 where there is none.
        let source: Count
        let looksAtSource: Bool
        /// Attentions of a layer, and all its branches.
        var attentions: Count { looksAtSource ? 2 : 1 }
        var branches: Count { attentions + 1 }

        init(layers: Int, length: Int, isCausal: Bool, source: Int = 0) {
            self.layers = Count(layers)
            s = Count(length)
            self.source = Count(source)
            looksAtSource = source > 0
            let block = ModelConfig.attentionBlockRows
            let (whole, rest) = length.quotientAndRemainder(dividingBy: block)
            let (half, other) = whole % 2 == 0 ? (whole / 2, whole + 1) : (whole, whole / 2 + 1)
            attendedPairs =
                isCausal
                ? Count(block) * Count(block) * Count(half) * Count(other) + Count(rest) * s : s * s
        }
    }
    /// In forward order: of an encoder–decoder the encoder, then the decoder; otherwise one.
    let stacks: [Stack]

    /// Numbers in the weight matrices of an attention, to its own sequence or to a source: queries, keys and values
    /// [h + 2kv, h], output [h, h].
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
        let last = Stack(
            layers: model.numLayers, length: model.contextLength, isCausal: model.family != .encoder,
            source: model.sourceLength)
        stacks =
            model.family == .encoderDecoder
            ? [Stack(layers: model.encoderLayers, length: model.sourceLength, isCausal: false), last] : [last]
    }
}

/// The sum over some stacks.
func sum(_ stacks: [Shape.Stack], _ count: (Shape.Stack) -> Count) -> Count {
    stacks.reduce(0) { $0 + count($1) }
}
