/// Products in tiles: how operands are rounded, and which instructions multiply them.
public struct TileMode: Sendable, Equatable {
    public let precision: TilePrecision
    public let instructions: TileInstructions

    public init(precision: TilePrecision, instructions: TileInstructions) {
        self.precision = precision
        self.instructions = instructions
    }

    /// How products of `precision` are done on a CPU that has `instructions`: `high` without AMX as one product in fp32, since
    /// three of AVX-512 BF16 run at two thirds of its rate at best; unless `LOCKSTEP_ISA` of `environment` asks for these.
    public static func of(
        _ precision: TilePrecision, with instructions: TileInstructions, environment: [String: String]
    ) -> TileMode {
        let isAskedFor = environment["LOCKSTEP_ISA"] == instructions.rawValue
        let inFP32 = precision == .high && instructions == .avx512bf16 && !isAskedFor
        return TileMode(precision: precision, instructions: inFP32 ? .avx512fma : instructions)
    }

    /// Products that are executed for one of fp32.
    public var products: Int { precision == .high && instructions != .avx512fma ? 3 : 1 }
}
