/// Products in tiles: how operands are rounded, and which instructions multiply them.
public struct TileMode: Sendable, Equatable {
    public let precision: TilePrecision
    public let instructions: TileInstructions

    public init(precision: TilePrecision, instructions: TileInstructions) {
        self.precision = precision
        self.instructions = instructions
    }

    /// How products of `precision` are fastest on a CPU that has `instructions`: `high` without AMX as one product in fp32, since
    /// three of AVX-512 BF16 run at two thirds of its rate at best.
    public static func fastest(_ precision: TilePrecision, with instructions: TileInstructions) -> TileMode {
        let inFP32 = precision == .high && instructions == .avx512bf16
        return TileMode(precision: precision, instructions: inFP32 ? .avx512fma : instructions)
    }

    /// Products that are executed for one of fp32.
    public var products: Int { precision == .high && instructions != .avx512fma ? 3 : 1 }
}
