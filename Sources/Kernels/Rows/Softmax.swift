#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Which columns the rows of attention scores [m,n] look at: the first ones.
public enum VisibleKeys: Sendable {
    /// Row i looks at columns 0...(n - m + i), m ≤ n: the last m rows of a lower triangle, a causal mask.
    case past
    /// Every row looks at this many columns, at most n: a padding mask.
    case first(Int)
}

/// Softmax of attention scores over the columns that each row looks at. Elements after those are not read.
public enum Softmax {
    /// In place: row i becomes the softmax of the scores that it looks at, zero after them. Optionally writes the
    /// logarithm of Σ_j e^scores[i,j] over those to logSumExp[i].
    public static func forward(_ scores: Matrix, visible: VisibleKeys, logSumExp: Vector?) {
        let seen = Seen(visible, of: scores)
        if let logSumExp { checkCount(logSumExp, scores) }
        for row in 0..<scores.rows {
            let values = scores.base + row &* scores.stride
            let width = maskRest(values, from: seen.columns(row), to: scores.columns)
            let largest = maximum(values, width)
            @inline(always) func exponentiate(_ offset: Int, _ lanes: Int) -> Lanes {
                let power = (load(values + offset, lanes, fill: -.infinity) - largest).exponentialUpTo88
                store(power, values + offset, lanes)
                return power
            }
            let sum = sumLanes(width, exponentiate)
            let inverse = 1 / sum
            @inline(always) func normalize(_ offset: Int, _ lanes: Int) {
                store(load(values + offset, lanes) * inverse, values + offset, lanes)
            }
            forEachLanes(width, normalize)
            clear(values, from: width, to: scores.columns)
            if let logSumExp { logSumExp.base[row] = largest + logf(sum) }
        }
    }

    /// In place: the probabilities again from the scores and the log-sum-exp that the forward pass kept:
    /// e^(scores[i,j] - logSumExp[i]) for the columns that row i looks at, zero after.
    public static func probabilities(_ scores: Matrix, visible: VisibleKeys, logSumExp: Vector) {
        let seen = Seen(visible, of: scores)
        checkCount(logSumExp, scores)
        for row in 0..<scores.rows {
            let values = scores.base + row &* scores.stride
            let width = maskRest(values, from: seen.columns(row), to: scores.columns)
            let normalizer = logSumExp.base[row]
            @inline(always) func exponentiate(_ offset: Int, _ lanes: Int) {
                store((load(values + offset, lanes) - normalizer).exponentialUpTo88, values + offset, lanes)
            }
            forEachLanes(width, exponentiate)
            clear(values, from: width, to: scores.columns)
        }
    }

    /// In place on dP, the gradient of the probabilities: dS[i,j] = P[i,j]·(dP[i,j] - delta[i])·scale for the columns that
    /// row i looks at, zero after; delta[i] = Σ_j P[i,j]·dP[i,j].
    public static func backward(
        _ dP: Matrix, visible: VisibleKeys, probabilities: Matrix, delta: Vector, scale: Float
    ) {
        let seen = Seen(visible, of: dP)
        checkCount(delta, dP)
        precondition(
            probabilities.hasShape(of: dP),
            "probabilities of \(probabilities.shape) for gradients of \(dP.shape)")
        for row in 0..<dP.rows {
            let gradient = dP.base + row &* dP.stride
            let probability = probabilities.base + row &* probabilities.stride
            let width = seen.columns(row)
            let rowDelta = delta.base[row]
            @inline(always) func differentiate(_ offset: Int, _ lanes: Int) {
                let centred = (load(gradient + offset, lanes) - rowDelta) * scale
                store(centred * load(probability + offset, lanes), gradient + offset, lanes)
            }
            forEachLanes(width, differentiate)
            clear(gradient, from: width, to: dP.columns)
        }
    }

    /// delta[i] = Σ_j a[i,j]·b[i,j]
    public static func rowDots(_ a: Matrix, _ b: Matrix, into delta: Vector) {
        rowDots(.full(a), .full(b), into: delta)
    }

    /// The same of two that may be kept in 16 bits, both in one format.
    public static func rowDots(_ a: StoredMatrix, _ b: StoredMatrix, into delta: Vector) {
        switch (a, b) {
        case (.full(let a), .full(let b)): rowDots(of: a, b, into: delta)
        case (.half(let a, .bf16), .half(let b, .bf16)):
            rowDots(of: a.of(BF16.self), b.of(BF16.self), into: delta)
        case (.half(let a, .fp16), .half(let b, .fp16)):
            rowDots(of: a.of(FP16.self), b.of(FP16.self), into: delta)
        default: preconditionFailure("factors of different formats")
        }
    }

    private static func rowDots<Number: LaneNumber>(
        of a: MatrixView<Number>, _ b: MatrixView<Number>, into delta: Vector
    ) {
        precondition(a.hasShape(of: b), "\(a.shape) elements do not fit \(b.shape)")
        checkCount(delta, a)
        for row in 0..<a.rows {
            let first = a.base + row &* a.stride
            let second = b.base + row &* b.stride
            @inline(always) func product(_ offset: Int, _ lanes: Int) -> Lanes {
                Number.lanes(first + offset, lanes) * Number.lanes(second + offset, lanes)
            }
            delta.base[row] = sumLanes(a.columns, product)
        }
    }

    /// Sets columns `start` ..< the next multiple of 16 to -∞, whose power is zero, where the row reaches that far;
    /// returns where the masked columns end. Whole vectors are faster than a remainder in every row.
    @inline(always)
    private static func maskRest(_ values: UnsafeMutablePointer<Float>, from start: Int, to end: Int) -> Int {
        let kept = start % Lanes.scalarCount
        let vector = start &- kept
        guard kept > 0, vector &+ Lanes.scalarCount <= end else { return start }
        let isRest: SIMDMask<SIMD16<Int32>> = laneIndices .>= SIMD16(repeating: UInt32(kept))
        let lanes = load(values + vector, Lanes.scalarCount)
        let masked = lanes.replacing(with: Lanes(repeating: -.infinity), where: isRest)
        store(masked, values + vector, Lanes.scalarCount)
        return vector &+ Lanes.scalarCount
    }

    @inline(always)
    private static func clear(_ values: UnsafeMutablePointer<Float>, from start: Int, to end: Int) {
        (values + start).update(repeating: 0, count: end &- start)
    }

    /// How many columns each row looks at: `first` and `step` more in every further one.
    private struct Seen {
        let first: Int
        let step: Int

        init(_ visible: VisibleKeys, of scores: Matrix) {
            switch visible {
            case .past:
                precondition(scores.rows <= scores.columns, "causal scores of \(scores.shape) have no past")
                (first, step) = (scores.columns - scores.rows + 1, 1)
            case .first(let count):
                precondition(
                    count >= 0 && count <= scores.columns, "\(count) keys in scores of \(scores.shape)")
                (first, step) = (count, 0)
            }
        }

        @inline(always)
        func columns(_ row: Int) -> Int { first &+ step &* row }
    }

    private static func checkCount<Number>(_ perRow: Vector, _ matrix: MatrixView<Number>) {
        precondition(perRow.count == matrix.rows, "\(perRow.count) elements for \(matrix.rows) rows")
    }
}
