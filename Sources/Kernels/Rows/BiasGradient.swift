/// Gradient of the bias of a linear layer.
public enum BiasGradient {
    /// db[n] += Σ_m dY[m,n], rows in ascending order, eight at a time.
    public static func accumulate(_ dy: Matrix, into db: Vector, on team: ThreadTeam = .alone) {
        accumulate(.full(dy), into: db, on: team)
    }

    /// The same of gradients that may be kept in 16 bits.
    public static func accumulate(_ dy: StoredMatrix, into db: Vector, on team: ThreadTeam = .alone) {
        switch dy {
        case .full(let dy): accumulate(of: dy, into: db, on: team)
        case .half(let dy, .bf16): accumulate(of: dy.of(BF16.self), into: db, on: team)
        case .half(let dy, .fp16): accumulate(of: dy.of(FP16.self), into: db, on: team)
        }
    }

    private static func accumulate<Number: LaneNumber>(
        of dy: MatrixView<Number>, into db: Vector, on team: ThreadTeam
    ) {
        precondition(db.count == dy.columns, "a bias of \(db.count) for \(dy.columns) outputs")
        team.split(dy.columns, grain: 16, (dy, db)) { operands, columns, _ in
            accumulate(columns: operands.0.columns(columns), into: operands.1.slice(columns))
        }
    }

    private static func accumulate<Number: LaneNumber>(columns dy: MatrixView<Number>, into db: Vector) {
        let sum = db.base
        let stride = dy.stride
        var row = 0
        while row &+ 8 <= dy.rows {
            let block = dy.base + row &* stride
            @inline(always) func addEightRows(_ offset: Int, _ lanes: Int) {
                let column = block + offset
                let sum0 = Number.lanes(column, lanes) + Number.lanes(column + stride, lanes)
                let sum1 =
                    Number.lanes(column + 2 &* stride, lanes) + Number.lanes(column + 3 &* stride, lanes)
                let sum2 =
                    Number.lanes(column + 4 &* stride, lanes) + Number.lanes(column + 5 &* stride, lanes)
                let sum3 =
                    Number.lanes(column + 6 &* stride, lanes) + Number.lanes(column + 7 &* stride, lanes)
                store(load(sum + offset, lanes) + ((sum0 + sum1) + (sum2 + sum3)), sum + offset, lanes)
            }
            forEachLanes(dy.columns, addEightRows)
            row &+= 8
        }
        while row < dy.rows {
            let source = dy.base + row &* stride
            @inline(always) func addRow(_ offset: Int, _ lanes: Int) {
                store(load(sum + offset, lanes) + Number.lanes(source + offset, lanes), sum + offset, lanes)
            }
            forEachLanes(dy.columns, addRow)
            row &+= 1
        }
    }
}
