/// Sum of token and learned position embeddings.
public enum Embedding {
    /// y[b·s,h] = tokenWeight[tokens[i]] + positionWeight[i mod s] for b `sequences` of s = y.rows / b tokens.
    public static func forward(
        tokens: UnsafePointer<Int32>, sequences: Int, tokenWeight: Matrix, positionWeight: Matrix,
        into y: Matrix, on team: ThreadTeam = .alone
    ) {
        let length = sequenceLength(y, sequences, tokenWeight, positionWeight)
        team.split(y.columns, grain: 16, (tokens, length, tokenWeight, positionWeight, y)) {
            operands, columns, _ in
            let (tokens, length, tokenWeight, positionWeight, y) = operands
            forward(
                columns: y.columns(columns), tokens, length, tokenWeight.columns(columns),
                positionWeight.columns(columns))
        }
    }

    private static func forward(
        columns y: Matrix, _ tokens: UnsafePointer<Int32>, _ length: Int, _ tokenWeight: Matrix,
        _ positionWeight: Matrix
    ) {
        for row in 0..<y.rows {
            let token = tokenWeight.base + index(tokens[row], tokenWeight) &* tokenWeight.stride
            let position = positionWeight.base + (row % length) &* positionWeight.stride
            let target = y.base + row &* y.stride
            @inline(always) func add(_ offset: Int, _ lanes: Int) {
                store(load(token + offset, lanes) + load(position + offset, lanes), target + offset, lanes)
            }
            forEachLanes(y.columns, add)
        }
    }

    /// Adds dY[b·s,h] to the rows of both weights' gradients that the forward pass read, in ascending order of rows.
    public static func backward(
        _ dy: Matrix, tokens: UnsafePointer<Int32>, sequences: Int, dTokenWeight: Matrix,
        dPositionWeight: Matrix, on team: ThreadTeam = .alone
    ) {
        let length = sequenceLength(dy, sequences, dTokenWeight, dPositionWeight)
        // By columns, so that no two threads add to one element and rows stay in order.
        team.split(dy.columns, grain: 16, (dy, tokens, length, dTokenWeight, dPositionWeight)) {
            operands, columns, _ in
            let (dy, tokens, length, dTokenWeight, dPositionWeight) = operands
            backward(
                columns: dy.columns(columns), tokens, length, dTokenWeight.columns(columns),
                dPositionWeight.columns(columns))
        }
    }

    private static func backward(
        columns dy: Matrix, _ tokens: UnsafePointer<Int32>, _ length: Int, _ dTokenWeight: Matrix,
        _ dPositionWeight: Matrix
    ) {
        for row in 0..<dy.rows {
            let token = dTokenWeight.base + index(tokens[row], dTokenWeight) &* dTokenWeight.stride
            let position = dPositionWeight.base + (row % length) &* dPositionWeight.stride
            let gradient = dy.base + row &* dy.stride
            @inline(always) func accumulate(_ offset: Int, _ lanes: Int) {
                let upstream = load(gradient + offset, lanes)
                store(load(token + offset, lanes) + upstream, token + offset, lanes)
                store(load(position + offset, lanes) + upstream, position + offset, lanes)
            }
            forEachLanes(dy.columns, accumulate)
        }
    }

    private static func sequenceLength(
        _ y: Matrix, _ sequences: Int, _ tokenWeight: Matrix, _ positionWeight: Matrix
    ) -> Int {
        precondition(
            sequences > 0 && y.rows % sequences == 0, "\(y.rows) tokens are no \(sequences) equal sequences")
        let length = y.rows / sequences
        precondition(
            length <= positionWeight.rows,
            "sequences of \(length) tokens, but \(positionWeight.rows) positions")
        precondition(
            tokenWeight.columns == y.columns && positionWeight.columns == y.columns,
            "embeddings of \(tokenWeight.columns) and \(positionWeight.columns) columns, not \(y.columns)")
        return max(length, 1)
    }

    @inline(always)
    private static func index(_ token: Int32, _ weight: Matrix) -> Int {
        precondition(
            token >= 0 && token < weight.rows, "token \(token) outside of a vocabulary of \(weight.rows)")
        return Int(token)
    }
}
