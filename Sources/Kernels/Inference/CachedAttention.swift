/// Attention of one query to the keys and values of a head that a cache holds.
public enum CachedAttention {
    /// `mixed` `[d]` = softmax(scale·q·K)·V over the first `count` positions.
    ///
    /// - Parameters:
    ///   - query: `[d]`.
    ///   - keys: `[d, capacity]`: a position is a column, so that scores come sixteen at a time.
    ///   - values: `[capacity, d]`.
    ///   - scores: workspace of at least `count` elements.
    public static func forward(
        query: Vector, keys: Matrix, values: Matrix, count: Int, scale: Float, scores: Vector,
        into mixed: Vector
    ) {
        precondition(
            query.count == keys.rows && mixed.count == values.columns && count <= keys.columns
                && count <= values.rows && count <= scores.count && count > 0,
            "\(count) positions of \(keys.shape) keys and \(values.shape) values")
        multiply(query, keys, count, scale, into: scores.base)
        let total = exponentials(scores.base, count)
        mix(scores.base, values, count, 1 / total, into: mixed.base)
    }

    /// scores[t] = scale·Σ_i q[i]·K[i,t]
    private static func multiply(
        _ q: Vector, _ keys: Matrix, _ count: Int, _ scale: Float, into scores: UnsafeMutablePointer<Float>
    ) {
        @inline(always) func four(_ offset: Int) {
            var (s0, s1, s2, s3) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
            for index in 0..<q.count {
                let key = keys.base + (index &* keys.stride &+ offset)
                let factor = q.base[index]
                s0 = load(key, 16).multiplyAdd(factor, s0)
                s1 = load(key + 16, 16).multiplyAdd(factor, s1)
                s2 = load(key + 32, 16).multiplyAdd(factor, s2)
                s3 = load(key + 48, 16).multiplyAdd(factor, s3)
            }
            store(s0 * scale, scores + offset, 16)
            store(s1 * scale, scores + (offset &+ 16), 16)
            store(s2 * scale, scores + (offset &+ 32), 16)
            store(s3 * scale, scores + (offset &+ 48), 16)
        }
        @inline(always) func some(_ offset: Int, _ lanes: Int) {
            var sum = Lanes.zero
            for index in 0..<q.count {
                let key = keys.base + (index &* keys.stride &+ offset)
                sum = load(key, lanes).multiplyAdd(q.base[index], sum)
            }
            store(sum * scale, scores + offset, lanes)
        }
        var offset = 0
        while offset &+ 64 <= count {
            four(offset)
            offset &+= 64
        }
        while offset < count {
            let lanes = min(16, count &- offset)
            some(offset, lanes)
            offset &+= lanes
        }
    }

    /// Replaces scores by e^(score − largest) and returns their sum.
    private static func exponentials(_ scores: UnsafeMutablePointer<Float>, _ count: Int) -> Float {
        let largest = maximum(scores, count)
        @inline(always) func power(_ offset: Int, _ lanes: Int) -> Lanes {
            let value = (load(scores + offset, lanes, fill: -.infinity) - largest).exponentialUpTo88
            store(value, scores + offset, lanes)
            return value
        }
        return sumLanes(count, power)
    }

    /// mixed[i] = factor·Σ_t p[t]·V[t,i]
    private static func mix(
        _ p: UnsafePointer<Float>, _ values: Matrix, _ count: Int, _ factor: Float,
        into mixed: UnsafeMutablePointer<Float>
    ) {
        let width = values.columns
        var column = 0
        while column &+ 64 <= width {
            var (s0, s1, s2, s3) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
            for position in 0..<count {
                let value = values.base + (position &* values.stride &+ column)
                s0 = load(value, 16).multiplyAdd(p[position], s0)
                s1 = load(value + 16, 16).multiplyAdd(p[position], s1)
                s2 = load(value + 32, 16).multiplyAdd(p[position], s2)
                s3 = load(value + 48, 16).multiplyAdd(p[position], s3)
            }
            store(s0 * factor, mixed + column, 16)
            store(s1 * factor, mixed + (column &+ 16), 16)
            store(s2 * factor, mixed + (column &+ 32), 16)
            store(s3 * factor, mixed + (column &+ 48), 16)
            column &+= 64
        }
        while column < width {
            let lanes = min(16, width &- column)
            var sum = Lanes.zero
            for position in 0..<count {
                sum = load(values.base + (position &* values.stride &+ column), lanes)
                    .multiplyAdd(p[position], sum)
            }
            store(sum * factor, mixed + column, lanes)
            column &+= lanes
        }
    }
}
