import Configs

/// Products of bf16 tiles that are timed by themselves.
public enum TileProductKind: String, Sendable {
    /// Of operands in fp32.
    case high, medium
    /// `medium`, of operands that are kept in bf16 and read as they are.
    case mediumKept = "medium_kept"

    /// Nil where products are BLAS's.
    init?(_ precision: PrecisionConfig) {
        switch precision.matmul {
        case .highest: return nil
        case .high: self = .high
        case .medium: self = precision.takesKept ? .mediumKept : .medium
        }
    }
}

/// How long products of bf16 tiles take, of one kind.
public struct TileProductTimes: Codable, Sendable, Equatable {
    /// By `Product.Role`: over activations, and within the heads of attention, with weights, keys and values that are packed
    /// already.
    public var products: [String: ProductModel]
    public var headProducts: [String: ProductModel.Fit]
    /// Seconds to pack an element of a weight, for both products that read it.
    public var packingSecondsPerElement: Double
    /// And one of keys or values in a head, for one product.
    public var headPackingSecondsPerElement: Double

    public init(
        products: [String: ProductModel], headProducts: [String: ProductModel.Fit],
        packingSecondsPerElement: Double, headPackingSecondsPerElement: Double
    ) {
        self.products = products
        self.headProducts = headProducts
        self.packingSecondsPerElement = packingSecondsPerElement
        self.headPackingSecondsPerElement = headPackingSecondsPerElement
    }

    enum CodingKeys: String, CodingKey {
        case products
        case headProducts = "head_products"
        case packingSecondsPerElement = "packing_seconds_per_element"
        case headPackingSecondsPerElement = "head_packing_seconds_per_element"
    }
}
