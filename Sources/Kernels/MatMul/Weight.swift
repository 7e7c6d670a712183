/// The weight W[n,k] of a linear layer, with the packed forms of it where products are done in tiles.
public struct Weight {
    public let matrix: Matrix
    let packed: PackedWeight?

    /// - Parameter packed: nil where products read the matrix itself.
    public init(_ matrix: Matrix, packed: PackedWeight? = nil) {
        self.matrix = matrix
        self.packed = packed
    }
}

/// A weight W[n,k] rounded to bf16 and packed, once as each of the two products reads it that go through the layer.
public struct PackedWeight {
    /// Bytes up to which all weights of a model are kept packed from one update to the next. Larger ones are packed again by
    /// every product, a block that a cache holds at a time, instead of doubling the memory of the parameters.
    public static let mostBytesOfModel = 128 << 20

    /// Wᵀ[k,n], of X·Wᵀ.
    let forward: PackedOperand
    /// W[n,k], of dY·W.
    let inputGradient: PackedOperand

    /// In the first `byteCount` bytes of `storage`, which starts at a multiple of 64 bytes. Holds nothing until packed.
    public init(n: Int, k: Int, precision: TilePrecision, in storage: VectorView<UInt8>) {
        forward = PackedOperand(.b, rows: n, depth: k, precision: precision, in: storage)
        inputGradient = PackedOperand(
            .b, rows: k, depth: n, precision: precision,
            in: storage.slice(forward.byteCount..<storage.count))
    }

    /// Bytes of both forms, a multiple of 64.
    public static func byteCount(n: Int, k: Int, precision: TilePrecision) -> Int {
        PackedOperand.byteCount(rows: n, depth: k, precision: precision)
            + PackedOperand.byteCount(rows: k, depth: n, precision: precision)
    }
}
