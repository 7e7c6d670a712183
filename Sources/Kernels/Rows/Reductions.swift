/// Whole-vector sums and scalings, for gradient norms and clipping.
public enum Reductions {
    /// Σ x², in double precision and in an order that depends on the number of elements alone. A NaN or infinite
    /// element makes the sum NaN or infinite.
    public static func sumOfSquares(_ x: Vector, on team: ThreadTeam = .alone) -> Double {
        team.sum(x.count, grain: 4096, zero: 0, x, adding: { $0 += $1 }) { x, range in
            sumOfSquares(part: x.slice(range))
        }
    }

    private static func sumOfSquares(part x: Vector) -> Double {
        let source = x.base
        var low0 = SIMD8<Double>.zero
        var high0 = low0
        var low1 = low0
        var high1 = low0
        var offset = 0
        while offset &+ 32 <= x.count {
            let first = load(source + offset, 16)
            let second = load(source + (offset &+ 16), 16)
            let a = SIMD8<Double>(first.lowHalf)
            let b = SIMD8<Double>(first.highHalf)
            let c = SIMD8<Double>(second.lowHalf)
            let d = SIMD8<Double>(second.highHalf)
            low0.addProduct(a, a)
            high0.addProduct(b, b)
            low1.addProduct(c, c)
            high1.addProduct(d, d)
            offset &+= 32
        }
        var rest = 0.0
        while offset < x.count {
            let element = Double(source[offset])
            rest += element * element
            offset &+= 1
        }
        return ((low0 + high0) + (low1 + high1)).sum() + rest
    }

    /// x = factor·x
    public static func scale(_ x: Vector, by factor: Float) {
        let values = x.base
        @inline(always) func scale(_ offset: Int, _ lanes: Int) {
            store(load(values + offset, lanes) * factor, values + offset, lanes)
        }
        forEachLanes(x.count, scale)
    }

    /// x = value
    public static func fill(_ x: Vector, with value: Float, on team: ThreadTeam = .alone) {
        team.split(x.count, grain: 4096, (x, value)) { operands, range, _ in
            let part = operands.0.slice(range)
            part.base.update(repeating: operands.1, count: part.count)
        }
    }

    /// The place of the largest element, of equal ones the first; 0 when there is none that is a number.
    public static func indexOfLargest(_ x: Vector) -> Int {
        let largest = Lanes(repeating: maximum(x.base, x.count))
        var offset = 0
        while offset < x.count {
            let lanes = min(Lanes.scalarCount, x.count &- offset)
            if any(load(x.base + offset, lanes, fill: .nan) .== largest) {
                for index in offset..<offset + lanes where x.base[index] == largest[0] { return index }
            }
            offset &+= lanes
        }
        return 0
    }
}
