/// The weight W[n,k] of a linear map, with the packed forms of it where products are done in tiles. Besides parameters also what
/// several products of a pass read as they read weights: the keys and values of attention.
public struct Weight {
    public let matrix: StoredMatrix
    let packed: PackedWeight?

    /// - Parameter packed: nil where products read the matrix itself.
    public init(_ matrix: StoredMatrix, packed: PackedWeight? = nil) {
        self.matrix = matrix
        self.packed = packed
    }

    public init(_ matrix: Matrix, packed: PackedWeight? = nil) { self.init(.full(matrix), packed: packed) }

    /// Its first `count` rows: a multiple of 32, or all of them.
    public func firstRows(_ count: Int) -> Weight {
        Weight(matrix.rows(0..<count), packed: packed?.firstRows(count))
    }
}

/// A weight W[n,k] packed in some precision, as each of the two products reads it that go through the layer.
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

    private init(forward: PackedOperand, inputGradient: PackedOperand) {
        self.forward = forward
        self.inputGradient = inputGradient
    }

    func firstRows(_ count: Int) -> PackedWeight {
        PackedWeight(
            forward: forward.part(rows: 0..<count), inputGradient: inputGradient.part(depths: 0..<count))
    }

    /// Bytes of both forms, a multiple of 64.
    public static func byteCount(n: Int, k: Int, precision: TilePrecision) -> Int {
        PackedOperand.byteCount(rows: n, depth: k, precision: precision)
            + PackedOperand.byteCount(rows: k, depth: n, precision: precision)
    }
}
