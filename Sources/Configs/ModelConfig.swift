/// Shape and arithmetic of the model.
public struct ModelConfig: Sendable, Equatable {
    public enum Family: String, Sendable, CaseIterable {
        /// Tokens look at those before them, and the next one is predicted: GPT-2, Llama.
        case decoder
        /// Tokens look at all of their sequence, and masked ones are predicted: BERT.
        case encoder
        /// A decoder looks at what an encoder has made of a source, too, and predicts the next token of its target:
        /// Vaswani et al. 2017, Marian.
        case encoderDecoder = "encoder-decoder"
    }
    /// Where a block's norms are: before attention and feed-forward (GPT-2, Llama), or behind each sum of a branch and the
    /// residual stream (Vaswani et al. 2017).
    public enum NormPlacement: String, Sendable, CaseIterable { case pre, post }
    /// Layer normalization (Ba et al. 2016), or by the root mean square alone (Zhang and Sennrich 2019).
    public enum NormType: String, Sendable, CaseIterable { case layer, rms }
    /// How tokens know their places: a learned embedding; sines and cosines added to the token embedding (Vaswani et al.
    /// 2017, sines first); or queries and keys that are turned (Su et al. 2021, Llama's halves).
    public enum Positions: String, Sendable, CaseIterable { case learned, sinusoidal, rotary }
    public enum Activation: String, Sendable, CaseIterable {
        /// GELU, tanh approximation, as in GPT-2.
        case gelu
        /// GELU by the error function.
        case geluErf = "gelu_erf"
        case relu
        case silu
    }
    /// Whether attention probabilities are kept for the backward pass or computed again in it.
    public enum AttentionMode: String, Sendable, CaseIterable, Encodable { case recomputed, stored }

    public var family = Family.decoder
    /// Folder of a Hugging Face checkpoint whose parameters training starts from, relative to the working directory; null
    /// (nil) starts from random ones. Keys of its shape that a configuration leaves out are those of its `config.json`.
    public var from: String? = nil
    /// Of the decoder, where there is one.
    public var numLayers: Int
    /// Layers of the encoder of an encoder–decoder, by default as many as its decoder has; 0 in other families.
    public var encoderLayers = 0
    public var dModel: Int
    public var numHeads: Int
    /// Heads of keys and values, each of which equally many query heads share (Ainslie et al. 2023). By default
    /// `numHeads`.
    public var numKVHeads: Int
    public var dFF: Int
    /// Sequence length of training, and the number of positions, in tokens. Of an encoder–decoder that of targets, each with
    /// the token that ends it.
    public var contextLength: Int
    /// The same of an encoder–decoder's sources, by default as long; 0 in other families.
    public var sourceLength = 0
    public var vocabSize: Int
    public var norm = NormPlacement.pre
    public var normType = NormType.layer
    /// Whether a norm stands between the last block and the head. By default with `norm: pre`.
    public var finalNorm = true
    /// Added to the variance, or mean square, in norms.
    public var normEpsilon = 1e-5
    public var positions = Positions.learned
    /// Rotary positions: element pair i of a head of width d turns by base^(-2i/d) a token.
    public var rotaryBase = 10_000.0
    /// Multiplies token embeddings by √d_model where they enter. By default with sinusoidal positions (Vaswani et al. 2017).
    public var scaleEmbeddings = false
    public var activation = Activation.gelu
    /// Kinds of segments, of which each has an embedding that is added to its tokens' (BERT has 2); 0 has none. All tokens
    /// that are trained on are of the first kind.
    public var tokenTypes = 0
    /// Whether a norm stands behind the sum of embeddings.
    public var embeddingNorm = false
    /// Whether the head begins with a linear map, activation and norm, and has a bias for each token of the vocabulary.
    public var headTransform = false
    /// A gated feed-forward: activation(x·gate)∘(x·up), of d_ff each (Shazeer 2020); with silu it is SwiGLU.
    public var gated = false
    /// Whether linear maps and layer norms have biases.
    public var biases = true
    /// Whether the head shares the token embedding's weights.
    public var tieEmbeddings = true
    /// Whether encoder and decoder have one token embedding (family encoder-decoder); otherwise a tied head has the
    /// decoder's.
    public var shareEmbeddings = true
    /// Probability of dropping an element, in [0, 1).
    public var dropout = 0.0
    public var attention = AttentionMode.recomputed

    /// Rows of the logits that exist at one time: the head and its loss work through a micro-batch in blocks of
    /// this many tokens, so that the logits of a large vocabulary are never stored whole.
    public static let logitsBlockRows = 256

    /// Rows of activations that are in fp32 at one time where they are kept in 16 bits (`precision.activations`).
    public static let keptBlockRows = 256

    /// Rows of a feed-forward layer's hidden gradient that exist at one time where products take it in 16 bits: so many that its
    /// weights' gradients, which each block adds to, are seldom gone through.
    public static let mlpBlockRows = 1024

    /// Query rows that attention takes at one time: scores exist for a block of rows and the keys up to its last row, so
    /// that most of the future, which a causal mask hides, is never computed.
    public static let attentionBlockRows = 64

    public init(
        numLayers: Int, dModel: Int, numHeads: Int, dFF: Int, contextLength: Int, vocabSize: Int
    ) {
        self.numLayers = numLayers
        self.dModel = dModel
        self.numHeads = numHeads
        numKVHeads = numHeads
        self.dFF = dFF
        self.contextLength = contextLength
        self.vocabSize = vocabSize
    }
}
