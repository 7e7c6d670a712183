import CTiles

/// Layer normalization over the last dimension (Ba, Kiros and Hinton 2016).
public enum LayerNorm {
    /// y[t,h] = x̂·weight + bias with x̂ = (x - mean)·inverseDeviation, per row; keeps the mean and
    /// 1/√(variance + epsilon) of every row for the backward pass. A bias of nil is none. y may be x.
    public static func forward(
        _ x: Matrix, weight: Vector, bias: Vector?, epsilon: Float, into y: Matrix,
        mean: Vector, inverseDeviation: Vector, on team: ThreadTeam = .alone
    ) {
        forward(
            of: x, nil, weight, bias, epsilon, into: y, mean: mean, inverseDeviation: inverseDeviation,
            on: team)
    }

    /// The same; x may be kept in 16 bits, and y in the same format, rounded to it once, or in fp32.
    ///
    /// With `terms`, x is their sum, which is written there on the way, as it is kept; x may be one of them.
    public static func forward(
        _ x: StoredMatrix, sumOf terms: ResidualTerms? = nil, weight: Vector, bias: Vector?, epsilon: Float,
        into y: StoredMatrix, mean: Vector, inverseDeviation: Vector, on team: ThreadTeam = .alone
    ) {
        func forward<X: LaneNumber, Y: LaneNumber>(
            _ x: MatrixView<X>, _ terms: LaneTerms<X>?, _ y: MatrixView<Y>
        ) {
            LayerNorm.forward(
                of: x, terms, weight, bias, epsilon, into: y, mean: mean, inverseDeviation: inverseDeviation,
                on: team)
        }
        func forward<X: HalfNumber>(_ x: MatrixView<X>, _ format: HalfFormat) {
            let terms = terms?.half(format, of: x)
            switch y {
            case .full(let y): forward(x, terms, y)
            case .half(let y, format): forward(x, terms, y.of(X.self))
            case .half: preconditionFailure("an input and an output of different formats")
            }
        }
        switch (x, y) {
        case (.full(let x), .full(let y)): forward(x, terms?.full(of: x), y)
        case (.half(let x, .bf16), _): forward(x.of(BF16.self), .bf16)
        case (.half(let x, .fp16), _): forward(x.of(FP16.self), .fp16)
        case (.full, .half): preconditionFailure("an input and an output of different formats")
        }
    }

    private static func forward<X: LaneNumber, Y: LaneNumber>(
        of x: MatrixView<X>, _ terms: LaneTerms<X>?, _ weight: Vector, _ bias: Vector?, _ epsilon: Float,
        into y: MatrixView<Y>, mean: Vector, inverseDeviation: Vector, on team: ThreadTeam
    ) {
        precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
        checkParameters(x, weight: weight, bias: bias, mean: mean, inverseDeviation: inverseDeviation)
        team.split(x.rows, (x, terms, weight, bias, epsilon, y, mean, inverseDeviation)) {
            operands, rows, _ in
            let (x, terms, weight, bias, epsilon, y, mean, inverseDeviation) = operands
            forward(
                rows: x.rows(rows), terms?.rows(rows), weight, bias, epsilon, into: y.rows(rows),
                mean.slice(rows), inverseDeviation.slice(rows))
        }
    }

    private static func forward<X: LaneNumber, Y: LaneNumber>(
        rows x: MatrixView<X>, _ terms: LaneTerms<X>?, _ weight: Vector, _ bias: Vector?, _ epsilon: Float,
        into y: MatrixView<Y>, _ mean: Vector, _ inverseDeviation: Vector
    ) {
        let width = x.columns
        let w = weight.base
        let b = bias?.base
        for row in 0..<x.rows {
            let source = x.base + row &* x.stride
            let target = y.base + row &* y.stride
            let total: Float
            if let terms {
                @inline(always) func sum(_ offset: Int, _ lanes: Int) -> Lanes {
                    terms.add(row: row, offset, lanes, into: source + offset)
                }
                total = sumLanes(width, sum)
            } else {
                @inline(always) func value(_ offset: Int, _ lanes: Int) -> Lanes {
                    X.lanes(source + offset, lanes)
                }
                total = sumLanes(width, value)
            }
            let rowMean = total / Float(width)
            @inline(always) func square(_ offset: Int, _ lanes: Int) -> Lanes {
                // The next row comes while the core works on this one, instead of waiting for it: from memory a sum and its
                // norm take a fifth less (Zen 3).
                if let terms {
                    terms.prefetch(row: row &+ 1, offset)
                } else {
                    lockstep_prefetch(source + (x.stride &+ offset))
                }
                let centred = X.lanes(source + offset, lanes, fill: rowMean) - rowMean
                return centred * centred
            }
            let inverse = 1 / (sumLanes(width, square) / Float(width) + epsilon).squareRoot()
            @inline(always) func normalized(_ offset: Int, _ lanes: Int) -> Lanes {
                (X.lanes(source + offset, lanes) - rowMean) * inverse
            }
            if let b {
                @inline(always) func normalize(_ offset: Int, _ lanes: Int) {
                    Y.store(
                        normalized(offset, lanes).multiplyAdd(
                            load(w + offset, lanes), load(b + offset, lanes)), target + offset, lanes)
                }
                forEachLanes(width, normalize)
            } else {
                @inline(always) func normalize(_ offset: Int, _ lanes: Int) {
                    Y.store(normalized(offset, lanes) * load(w + offset, lanes), target + offset, lanes)
                }
                forEachLanes(width, normalize)
            }
            mean.base[row] = rowMean
            inverseDeviation.base[row] = inverse
        }
    }

    /// Adds the gradients to dx[t,h], dWeight[h] and, if there is a bias, dBias[h]; mean and inverseDeviation are those of
    /// the forward pass.
    ///
    /// With g = dy∘weight: dx += inverseDeviation·(g - mean(g) - x̂·mean(g∘x̂)), dWeight += Σ dy∘x̂, dBias += Σ dy.
    public static func backward(
        _ dy: Matrix, x: Matrix, weight: Vector, mean: Vector, inverseDeviation: Vector,
        addingTo dx: Matrix, dWeight: Vector, dBias: Vector?, on team: ThreadTeam = .alone
    ) {
        backward(
            dy, of: x, weight, mean: mean, inverseDeviation: inverseDeviation, addingTo: dx, dWeight, dBias,
            on: team)
    }

    /// The same; x may be kept in 16 bits.
    public static func backward(
        _ dy: Matrix, x: StoredMatrix, weight: Vector, mean: Vector, inverseDeviation: Vector,
        addingTo dx: Matrix, dWeight: Vector, dBias: Vector?, on team: ThreadTeam = .alone
    ) {
        func backward<X: LaneNumber>(_ x: MatrixView<X>) {
            LayerNorm.backward(
                dy, of: x, weight, mean: mean, inverseDeviation: inverseDeviation, addingTo: dx, dWeight,
                dBias, on: team)
        }
        switch x {
        case .full(let x): backward(x)
        case .half(let x, .bf16): backward(x.of(BF16.self))
        case .half(let x, .fp16): backward(x.of(FP16.self))
        }
    }

    private static func backward<X: LaneNumber>(
        _ dy: Matrix, of x: MatrixView<X>, _ weight: Vector, mean: Vector, inverseDeviation: Vector,
        addingTo dx: Matrix, _ dWeight: Vector, _ dBias: Vector?, on team: ThreadTeam
    ) {
        precondition(
            dy.hasShape(of: x) && dx.hasShape(of: x),
            "gradients of \(dy.shape) and \(dx.shape) for an input of \(x.shape)")
        checkParameters(x, weight: weight, bias: dBias, mean: mean, inverseDeviation: inverseDeviation)
        precondition(
            dWeight.count == x.columns, "a weight gradient of \(dWeight.count) for \(x.columns) columns")
        // Both gradients of some rows while a core's cache holds them.
        forEachRowBlock(x.rows, columns: 3 * x.columns, on: team) { rows in
            let (dy, x, dx) = (dy.rows(rows), x.rows(rows), dx.rows(rows))
            let (mean, inverseDeviation) = (mean.slice(rows), inverseDeviation.slice(rows))
            team.split(x.rows, (dy, x, weight, mean, inverseDeviation, dx)) { operands, rows, _ in
                let (dy, x, weight, mean, inverseDeviation, dx) = operands
                inputGradient(
                    dy.rows(rows), x.rows(rows), weight, mean.slice(rows), inverseDeviation.slice(rows),
                    addingTo: dx.rows(rows))
            }
            // By columns, so that no two threads add to one element and rows stay in order.
            team.split(x.columns, grain: 16, (dy, x, mean, inverseDeviation, dWeight, dBias)) {
                operands, columns, _ in
                let (dy, x, mean, inverseDeviation, dWeight, dBias) = operands
                parameterGradients(
                    dy.columns(columns), x.columns(columns), mean, inverseDeviation, dWeight.slice(columns),
                    dBias?.slice(columns))
            }
        }
    }

    private static func inputGradient<X: LaneNumber>(
        _ dy: Matrix, _ x: MatrixView<X>, _ weight: Vector, _ mean: Vector, _ inverseDeviation: Vector,
        addingTo dx: Matrix
    ) {
        let width = x.columns
        let w = weight.base
        for row in 0..<x.rows {
            let gradient = dy.base + row &* dy.stride
            let source = x.base + row &* x.stride
            let target = dx.base + row &* dx.stride
            let rowMean = mean.base[row]
            let inverse = inverseDeviation.base[row]
            var projection = Lanes.zero
            @inline(always) func accumulate(_ offset: Int, _ lanes: Int) -> Lanes {
                let normalized = (X.lanes(source + offset, lanes, fill: rowMean) - rowMean) * inverse
                let weighted = load(gradient + offset, lanes) * load(w + offset, lanes)
                projection = weighted.multiplyAdd(normalized, projection)
                return weighted
            }
            let meanGradient = sumLanes(width, accumulate) / Float(width)
            let meanProjection = projection.total / Float(width)
            @inline(always) func addGradient(_ offset: Int, _ lanes: Int) {
                let weighted = load(gradient + offset, lanes) * load(w + offset, lanes)
                let normalized = (X.lanes(source + offset, lanes) - rowMean) * inverse
                let centred = normalized.multiplyAdd(-meanProjection, weighted - meanGradient)
                store(centred.multiplyAdd(inverse, load(target + offset, lanes)), target + offset, lanes)
            }
            forEachLanes(width, addGradient)
        }
    }

    /// Sums stay in registers, 64 columns at a time: rows in ascending order.
    private static func parameterGradients<X: LaneNumber>(
        _ dy: Matrix, _ x: MatrixView<X>, _ mean: Vector, _ inverseDeviation: Vector, _ dWeight: Vector,
        _ dBias: Vector?
    ) {
        var column = 0
        while column &+ 64 <= x.columns {
            addFourVectors(
                dy, x, mean, inverseDeviation, dWeight.base + column, dBias.map { $0.base + column }, column)
            column &+= 64
        }
        while column < x.columns {
            let lanes = min(16, x.columns &- column)
            let (dw, db) = (dWeight.base + column, dBias.map { $0.base + column })
            var (weightSum, biasSum) = (load(dw, lanes), db.map { load($0, lanes) } ?? .zero)
            for row in 0..<x.rows {
                let upstream = load(dy.base + (row &* dy.stride &+ column), lanes)
                let centred = X.lanes(x.base + (row &* x.stride &+ column), lanes) - mean.base[row]
                weightSum = upstream.multiplyAdd(centred * inverseDeviation.base[row], weightSum)
                biasSum += upstream
            }
            store(weightSum, dw, lanes)
            if let db { store(biasSum, db, lanes) }
            column &+= lanes
        }
    }

    @inline(always)
    private static func addFourVectors<X: LaneNumber>(
        _ dy: Matrix, _ x: MatrixView<X>, _ mean: Vector, _ inverseDeviation: Vector,
        _ dw: UnsafeMutablePointer<Float>, _ db: UnsafeMutablePointer<Float>?, _ column: Int
    ) {
        var (weight0, weight1) = (load(dw, 16), load(dw + 16, 16))
        var (weight2, weight3) = (load(dw + 32, 16), load(dw + 48, 16))
        var (bias0, bias1, bias2, bias3) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        if let db {
            (bias0, bias1) = (load(db, 16), load(db + 16, 16))
            (bias2, bias3) = (load(db + 32, 16), load(db + 48, 16))
        }
        for row in 0..<x.rows {
            let gradient = dy.base + (row &* dy.stride &+ column)
            let source = x.base + (row &* x.stride &+ column)
            let rowMean = mean.base[row]
            let inverse = inverseDeviation.base[row]
            @inline(always) func add(_ offset: Int, _ weight: inout Lanes, _ bias: inout Lanes) {
                let upstream = load(gradient + offset, 16)
                let normalized = (X.lanes(source + offset, 16) - rowMean) * inverse
                weight = upstream.multiplyAdd(normalized, weight)
                bias += upstream
            }
            add(0, &weight0, &bias0)
            add(16, &weight1, &bias1)
            add(32, &weight2, &bias2)
            add(48, &weight3, &bias3)
        }
        store(weight0, dw, 16)
        store(weight1, dw + 16, 16)
        store(weight2, dw + 32, 16)
        store(weight3, dw + 48, 16)
        guard let db else { return }
        store(bias0, db, 16)
        store(bias1, db + 16, 16)
        store(bias2, db + 32, 16)
        store(bias3, db + 48, 16)
    }

    private static func checkParameters<X: LaneNumber>(
        _ x: MatrixView<X>, weight: Vector, bias: Vector?, mean: Vector, inverseDeviation: Vector
    ) {
        precondition(
            weight.count == x.columns && (bias?.count ?? x.columns) == x.columns,
            "a weight of \(weight.count) and a bias of \(bias?.count ?? 0) for \(x.columns) columns")
        precondition(
            mean.count == x.rows && inverseDeviation.count == x.rows,
            "\(mean.count) means and \(inverseDeviation.count) deviations for \(x.rows) rows")
    }
}
