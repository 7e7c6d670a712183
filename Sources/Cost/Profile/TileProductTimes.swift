/// How long products of bf16 tiles take, of one precision.
public struct TileProductTimes: Codable, Sendable, Equatable {
    /// By `Product.Role`: over activations, with weights that are packed already, and within the heads of attention.
    public var products: [String: ProductModel]
    public var headProducts: [String: ProductModel.Fit]
    /// Seconds to pack an element of a weight, for both products that read it.
    public var packingSecondsPerElement: Double

    public init(
        products: [String: ProductModel], headProducts: [String: ProductModel.Fit],
        packingSecondsPerElement: Double
    ) {
        self.products = products
        self.headProducts = headProducts
        self.packingSecondsPerElement = packingSecondsPerElement
    }

    enum CodingKeys: String, CodingKey {
        case products
        case headProducts = "head_products"
        case packingSecondsPerElement = "packing_seconds_per_element"
    }
}
