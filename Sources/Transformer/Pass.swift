import Kernels

/// A micro-batch of token sequences: row-major `[sequences, length]` inputs and, for a loss, the token that is to be
/// predicted at each: the next one, or an encoder's masked one (`CrossEntropy.ignoredTarget` where there is none).
public struct TokenBatch {
    public let inputs: UnsafePointer<Int32>
    public let targets: UnsafePointer<Int32>?
    public let sequences: Int
    public let length: Int
    /// Of each sequence, at least 1; what is behind them is padding, which an encoder's tokens do not look at. Nil is
    /// `length` of all.
    public let lengths: UnsafePointer<Int32>?
    /// What an encoder–decoder encodes for these sequences; nil for other families.
    public let source: Source?
    /// Index of the first sequence within the step's global batch: dropout depends on it, not on the rank.
    public let firstSequence: Int

    /// Sources of the sequences of a batch, `[sequences, length]`.
    public struct Source {
        public let tokens: UnsafePointer<Int32>
        public let length: Int
        /// Of each source, at least 1; what is behind them is padding. Nil is `length` of all.
        public let lengths: UnsafePointer<Int32>?

        public init(tokens: UnsafePointer<Int32>, length: Int, lengths: UnsafePointer<Int32>? = nil) {
            self.tokens = tokens
            self.length = length
            self.lengths = lengths
        }
    }

    public init(
        inputs: UnsafePointer<Int32>, targets: UnsafePointer<Int32>?, sequences: Int, length: Int,
        lengths: UnsafePointer<Int32>? = nil, source: Source? = nil, firstSequence: Int = 0
    ) {
        self.inputs = inputs
        self.targets = targets
        self.sequences = sequences
        self.length = length
        self.lengths = lengths
        self.source = source
        self.firstSequence = firstSequence
    }

    /// Padding among them.
    var tokens: Int { sequences * length }

    /// The sources as a batch of their own.
    var sourceBatch: TokenBatch? {
        source.map {
            TokenBatch(
                inputs: $0.tokens, targets: nil, sequences: sequences, length: $0.length, lengths: $0.lengths,
                firstSequence: firstSequence)
        }
    }

    /// Tokens of `sequence` that are no padding.
    func visibleLength(of sequence: Int) -> Int { lengths.map { Int($0[sequence]) } ?? length }
}

/// The random numbers of a training step; a pass without them (evaluation, generation) drops nothing.
public struct DropoutSeed: Sendable {
    public let seed: UInt64
    public let step: Int

    public init(seed: UInt64, step: Int) {
        self.seed = seed
        self.step = step
    }
}

/// One micro-batch on its way through the layers: the arenas, the threads, the matrix products, and the batch.
struct Pass {
    let parameters: Vector
    /// Empty in a model that is not trained.
    let gradients: Vector
    /// Whether products add to the gradients of weights that are there, and do not replace them.
    let accumulates: Bool
    let activations: Vector
    /// Activations that are kept in 16 bits, in `format`; none where that is nil.
    let halves: VectorView<UInt16>
    let format: HalfFormat?
    let blocks: KeptBlocks?
    let workspace: Vector
    let weights: Weights
    /// Where each thread keeps keys and values of a head as tiles.
    let packedHeads: VectorView<UInt8>
    let team: ThreadTeam
    let matmul: MatMul
    let batch: TokenBatch
    /// What the encoder of an encoder–decoder has taken for this batch, while its decoder takes the batch.
    let sourceBatch: TokenBatch?
    let dropout: DropoutSeed?

    /// Tokens of this micro-batch, t = sequences · length.
    var tokens: Int { batch.tokens }

    /// `sourceBatch` within a layer that looks at it.
    var source: TokenBatch {
        guard let sourceBatch else { preconditionFailure("a pass without sources") }
        return sourceBatch
    }

    func parameter(_ slot: Slot) -> Matrix { Self.matrix(parameters, slot) }
    func parameter(_ slot: Slot) -> Vector { parameters.slice(slot.offset..<slot.offset + slot.count) }
    func weight(_ slot: WeightSlot) -> Weight { weights[slot] }
    func gradient(_ slot: Slot) -> Matrix { Self.matrix(gradients, slot) }
    func gradient(_ slot: Slot) -> Vector { gradients.slice(slot.offset..<slot.offset + slot.count) }
    func activation(_ slot: Slot) -> Matrix { Self.matrix(activations, slot) }
    func scratch(_ slot: Slot) -> Matrix { Self.matrix(workspace, slot) }

    /// The rows of an activation or workspace tensor `[t, columns]` that this micro-batch uses.
    func tokenRows(_ matrix: Matrix) -> Matrix { matrix.rows(0..<tokens) }

    /// The same of a tensor that has a row for each token of the sources.
    func sourceRows(_ matrix: Matrix) -> Matrix { matrix.rows(0..<source.tokens) }

    fileprivate static func matrix(_ arena: Vector, _ slot: Slot) -> Matrix {
        arena.slice(slot.offset..<slot.offset + slot.count).matrix(rows: slot.rows, columns: slot.columns)
    }
}

/// The weights of linear layers among the parameters, and as tiles where products are done in tiles.
struct Weights {
    let parameters: Vector
    let packed: VectorView<UInt8>
    /// nil where products are not done in tiles.
    let precision: TilePrecision?

    subscript(slot: WeightSlot) -> Weight {
        let matrix = Pass.matrix(parameters, slot.slot)
        guard let precision, let offset = slot.packedOffset else { return Weight(matrix) }
        let storage = packed.slice(offset..<packed.count)
        return Weight(
            matrix,
            packed: PackedWeight(n: matrix.rows, k: matrix.columns, precision: precision, in: storage))
    }
}
