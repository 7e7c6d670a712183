import Configs
import Kernels

/// What the layers of a model ask for while they are put together: parameters, activations that the backward pass
/// needs, and workspace. Nothing is allocated yet.
public struct ModelPlan {
    /// Shape of the model.
    public let model: ModelConfig
    /// Largest number of sequences of a pass (b).
    public let sequences: Int
    /// That work on a pass together.
    public let threads: Int
    /// Largest number of tokens of a pass through the stack that is being planned (t = b·s).
    public var tokens: Int { sequences * length }
    /// The same of an encoder–decoder's encoder (u).
    var sourceTokens: Int { sequences * model.sourceLength }

    /// What a stack of blocks does.
    public enum Side: Sendable { case encoder, decoder }
    /// The stack that is being planned.
    public private(set) var side: Side
    /// The output of the encoder `[u, h]`, where the decoder that is being planned looks at one, and in the workspace its
    /// gradient.
    struct Memory {
        let output: KeptSlot
        let gradient: Slot
    }
    private(set) var memory: Memory?

    /// Tokens of a sequence (s).
    public var length: Int { isSourceSide ? model.sourceLength : model.contextLength }
    /// Blocks of the stack.
    var layers: Int { isSourceSide ? model.encoderLayers : model.numLayers }
    private var isSourceSide: Bool { model.family == .encoderDecoder && side == .encoder }

    /// GPT-2 scales the start of projections onto the residual stream by 1/√(number of them).
    var residualProjectionDeviation: Float {
        0.02 / Float((memory == nil ? 2 : 3) * layers).squareRoot()
    }

    public var parameters = ParameterLayout()
    /// Kept from forward to backward in fp32.
    public var activations = ArenaPlan()
    /// And in 16 bits, where activations have a format of these.
    public private(set) var halves = ArenaPlan()
    /// Alive within a layer's forward or backward.
    public var workspace = ArenaPlan()
    /// Nil where positions are learned.
    let positionTable: PositionTable?
    /// How products are rounded when they are done in tiles; nil when not.
    public let tiles: TilePrecision?
    /// Of activations of a row for each token; nil keeps them in fp32.
    let format: HalfFormat?
    /// The same where products take and give it as it is.
    var productFormat: HalfFormat? { tiles == .medium && format == .bf16 ? .bf16 : nil }
    /// Workspace for rows of those on their way to fp32 and back; nil where they are kept in it.
    let blocks: KeptBlocks?
    /// Weights with their places among the packed ones, and bytes of all packed ones.
    private(set) var weights: [WeightSlot] = []
    public private(set) var packedBytes = 0
    /// Parameters whose gradients come from matrix products.
    private(set) var multiplied: [Range<Int>] = []
    /// Bytes in which a thread packs the operands of any one product.
    public private(set) var packingBytes = 0
    /// And those in which it keeps keys and values of a head as tiles.
    public private(set) var headBytes = 0
    private var dropoutSites = 0

    public init(
        model: ModelConfig, sequences: Int, threads: Int, tiles: TilePrecision? = nil,
        format: HalfFormat? = nil
    ) {
        self.threads = threads
        self.model = model
        self.tiles = tiles
        self.format = format
        self.sequences = sequences
        side = model.family == .decoder ? .decoder : .encoder
        positionTable = PositionTable(model, workspace: &workspace)
        blocks = format == nil ? nil : KeptBlocks(model, sequences: sequences, workspace: &workspace)
    }

    /// Takes `rows · columns` elements for a tensor that is kept from forward to backward.
    mutating func keep(_ name: String, rows: Int, columns: Int) -> KeptSlot {
        KeptSlot(
            slot: format == nil
                ? activations.reserve(name, rows: rows, columns: columns)
                : halves.reserve(name, rows: rows, columns: columns))
    }

    /// What is planned from here on is a decoder that looks at `memory`.
    mutating func beginDecoder(_ memory: Memory) {
        side = .decoder
        self.memory = memory
    }

    /// A place for the packed forms of a weight `[n, k]` that takes part in products with at most `rows` rows.
    mutating func addWeight(_ slot: Slot, rows: Int) -> WeightSlot {
        let (n, k) = (slot.rows, slot.columns)
        multiplied.append(slot.offset..<slot.offset + slot.count)
        addProduct(m: rows, n: n, k: k)
        addProduct(m: rows, n: k, k: n)
        addProduct(m: n, n: k, k: rows)
        guard let tiles,
            !(TileMatMul.isSmall(m: rows, n: n, k: k) && TileMatMul.isSmall(m: rows, n: k, k: n))
        else {
            return WeightSlot(slot: slot, packedOffset: nil)
        }
        let weight = WeightSlot(slot: slot, packedOffset: packedBytes)
        packedBytes += PackedWeight.byteCount(n: n, k: k, precision: tiles)
        weights.append(weight)
        return weight
    }

    /// Says that layers multiply [m,k] by [k,n].
    mutating func addProduct(m: Int, n: Int, k: Int) {
        guard let tiles, !TileMatMul.isSmall(m: m, n: n, k: k) else { return }
        packingBytes = max(
            packingBytes, TileMatMul.workspaceByteCount(m: m, n: n, k: k, precision: tiles))
    }

    /// Whether keys and values of a head, `[keys, width]` each, are kept as tiles while blocks of at most `rows` queries meet them.
    mutating func addHead(rows: Int, keys: Int, width: Int) -> Bool {
        guard let tiles,
            !(TileMatMul.isSmall(m: rows, n: keys, k: width)
                && TileMatMul.isSmall(m: rows, n: width, k: keys))
        else { return false }
        headBytes = max(headBytes, 2 * PackedWeight.byteCount(n: keys, k: width, precision: tiles))
        return true
    }

    /// A number that tells one dropout of the model from every other.
    mutating func addDropoutSite() -> Int {
        defer { dropoutSites += 1 }
        return dropoutSites
    }
}

/// Where a weight is among the parameters and, in bytes, among the packed weights.
struct WeightSlot {
    let slot: Slot
    let packedOffset: Int?
}
