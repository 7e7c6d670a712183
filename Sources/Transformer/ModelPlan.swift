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
    /// Largest number of tokens of a pass (t = b·s).
    public var tokens: Int { sequences * model.contextLength }

    public var parameters = ParameterLayout()
    /// Kept from forward to backward.
    public var activations = ArenaPlan()
    /// Alive within a layer's forward or backward.
    public var workspace = ArenaPlan()
    /// Nil where positions are learned.
    let positionTable: PositionTable?
    /// How products are rounded when they are done in tiles; nil when not.
    public let tiles: TilePrecision?
    /// Weights with their places among the packed ones, and bytes of all packed ones.
    private(set) var weights: [WeightSlot] = []
    public private(set) var packedBytes = 0
    /// Bytes in which a thread packs the operands of any one product.
    public private(set) var packingBytes = 0
    private var dropoutSites = 0

    public init(model: ModelConfig, sequences: Int, threads: Int, tiles: TilePrecision? = nil) {
        self.threads = threads
        self.model = model
        self.tiles = tiles
        self.sequences = sequences
        positionTable = PositionTable(model, workspace: &workspace)
    }

    /// A place for the packed forms of a weight `[n, k]` that takes part in products with at most `rows` rows.
    mutating func addWeight(_ slot: Slot, rows: Int) -> WeightSlot {
        let (n, k) = (slot.rows, slot.columns)
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
