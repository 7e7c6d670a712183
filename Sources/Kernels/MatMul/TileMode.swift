/// Products in tiles: how operands are rounded, and which instructions multiply them.
public struct TileMode: Sendable, Equatable {
    public let precision: TilePrecision
    public let instructions: TileInstructions

    public init(precision: TilePrecision, instructions: TileInstructions) {
        self.precision = precision
        self.instructions = instructions
    }
}
