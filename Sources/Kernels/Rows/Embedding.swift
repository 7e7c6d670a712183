#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Sum of token and position embeddings.
public enum Embedding {
    /// Sinusoidal positions (Vaswani et al. 2017) in Marian's order, sines before cosines: with angle p·10000^(-2i/h),
    /// table[p,i] is its sine and table[p,⌈h/2⌉ + i] its cosine.
    public static func fillSinusoids(_ table: Matrix) {
        let sines = (table.columns + 1) / 2
        for position in 0..<table.rows {
            for column in 0..<table.columns {
                let index = column < sines ? column : column - sines
                let angle = Double(position) * pow(10_000, -Double(2 * index) / Double(table.columns))
                table.base[position &* table.stride &+ column] = Float(
                    column < sines ? sin(angle) : cos(angle))
            }
        }
    }

    /// y[b·s,h] = scale·tokenWeight[tokens[i]] + positionWeight[i mod s] for b `sequences` of s = y.rows / b tokens;
    /// without positions when `positionWeight` is nil.
    public static func forward(
        tokens: UnsafePointer<Int32>, sequences: Int, tokenWeight: Matrix, scale: Float = 1,
        positionWeight: Matrix?, into y: Matrix, on team: ThreadTeam = .alone
    ) {
        let length = sequenceLength(y, sequences, tokenWeight, positionWeight)
        team.split(y.columns, grain: 16, (tokens, length, tokenWeight, scale, positionWeight, y)) {
            operands, columns, _ in
            let (tokens, length, tokenWeight, scale, positionWeight, y) = operands
            forward(
                columns: y.columns(columns), tokens, length, tokenWeight.columns(columns), scale,
                positionWeight?.columns(columns))
        }
    }

    private static func forward(
        columns y: Matrix, _ tokens: UnsafePointer<Int32>, _ length: Int, _ tokenWeight: Matrix,
        _ scale: Float, _ positionWeight: Matrix?
    ) {
        for row in 0..<y.rows {
            let token = tokenWeight.base + index(tokens[row], tokenWeight) &* tokenWeight.stride
            let target = y.base + row &* y.stride
            if let positionWeight {
                let position = positionWeight.base + (row % length) &* positionWeight.stride
                @inline(always) func add(_ offset: Int, _ lanes: Int) {
                    let sum = load(token + offset, lanes).multiplyAdd(scale, load(position + offset, lanes))
                    store(sum, target + offset, lanes)
                }
                forEachLanes(y.columns, add)
            } else {
                @inline(always) func scaled(_ offset: Int, _ lanes: Int) {
                    store(load(token + offset, lanes) * scale, target + offset, lanes)
                }
                forEachLanes(y.columns, scaled)
            }
        }
    }

    /// y[i,h] += row[h] for every i; its gradient is `BiasGradient`'s.
    public static func add(_ row: Vector, toEveryRowOf y: Matrix, on team: ThreadTeam = .alone) {
        precondition(row.count == y.columns, "a row of \(row.count) for \(y.shape) elements")
        team.split(y.rows, (row, y)) { operands, rows, _ in
            let (row, y) = (operands.0, operands.1.rows(rows))
            for index in 0..<y.rows {
                let target = y.base + index &* y.stride
                @inline(always) func add(_ offset: Int, _ lanes: Int) {
                    store(
                        load(target + offset, lanes) + load(row.base + offset, lanes), target + offset, lanes)
                }
                forEachLanes(y.columns, add)
            }
        }
    }

    /// Adds scale·dY[b·s,h] and dY to the rows of the weights' gradients that the forward pass read, in ascending order of
    /// rows; `dPositionWeight` is nil where positions have none.
    public static func backward(
        _ dy: Matrix, tokens: UnsafePointer<Int32>, sequences: Int, dTokenWeight: Matrix, scale: Float = 1,
        dPositionWeight: Matrix?, on team: ThreadTeam = .alone
    ) {
        let length = sequenceLength(dy, sequences, dTokenWeight, dPositionWeight)
        // By columns, so that no two threads add to one element and rows stay in order.
        team.split(dy.columns, grain: 16, (dy, tokens, length, dTokenWeight, scale, dPositionWeight)) {
            operands, columns, _ in
            let (dy, tokens, length, dTokenWeight, scale, dPositionWeight) = operands
            backward(
                columns: dy.columns(columns), tokens, length, dTokenWeight.columns(columns), scale,
                dPositionWeight?.columns(columns))
        }
    }

    private static func backward(
        columns dy: Matrix, _ tokens: UnsafePointer<Int32>, _ length: Int, _ dTokenWeight: Matrix,
        _ scale: Float, _ dPositionWeight: Matrix?
    ) {
        for row in 0..<dy.rows {
            let token = dTokenWeight.base + index(tokens[row], dTokenWeight) &* dTokenWeight.stride
            let gradient = dy.base + row &* dy.stride
            @inline(always) func accumulate(_ upstream: Lanes, _ offset: Int, _ lanes: Int) {
                store(upstream.multiplyAdd(scale, load(token + offset, lanes)), token + offset, lanes)
            }
            if let dPositionWeight {
                let position = dPositionWeight.base + (row % length) &* dPositionWeight.stride
                @inline(always) func accumulateBoth(_ offset: Int, _ lanes: Int) {
                    let upstream = load(gradient + offset, lanes)
                    accumulate(upstream, offset, lanes)
                    store(load(position + offset, lanes) + upstream, position + offset, lanes)
                }
                forEachLanes(dy.columns, accumulateBoth)
            } else {
                @inline(always) func accumulateOne(_ offset: Int, _ lanes: Int) {
                    accumulate(load(gradient + offset, lanes), offset, lanes)
                }
                forEachLanes(dy.columns, accumulateOne)
            }
        }
    }

    private static func sequenceLength(
        _ y: Matrix, _ sequences: Int, _ tokenWeight: Matrix, _ positionWeight: Matrix?
    ) -> Int {
        precondition(
            sequences > 0 && y.rows % sequences == 0, "\(y.rows) tokens are no \(sequences) equal sequences")
        let length = y.rows / sequences
        precondition(tokenWeight.columns == y.columns, "embeddings of \(tokenWeight.shape) for \(y.shape)")
        if let positionWeight {
            precondition(
                length <= positionWeight.rows && positionWeight.columns == y.columns,
                "positions of \(positionWeight.shape) for sequences of \(length) × \(y.columns)")
        }
        return max(length, 1)
    }

    @inline(always)
    private static func index(_ token: Int32, _ weight: Matrix) -> Int {
        precondition(
            token >= 0 && token < weight.rows, "token \(token) outside of a vocabulary of \(weight.rows)")
        return Int(token)
    }
}
