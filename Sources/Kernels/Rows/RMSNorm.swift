/// Root-mean-square normalization over the last dimension (Zhang and Sennrich 2019), as in Llama.
public enum RMSNorm {
    /// y[t,h] = x·inverseRoot·weight with inverseRoot = 1/√(mean(x²) + epsilon), per row, which is kept for the backward
    /// pass. y may be x.
    public static func forward(
        _ x: Matrix, weight: Vector, epsilon: Float, into y: Matrix, inverseRoot: Vector,
        on team: ThreadTeam = .alone
    ) {
        forward(of: x, nil, weight, epsilon, into: y, inverseRoot, on: team)
    }

    /// The same; x may be kept in 16 bits, and y in the same format, rounded to it once, or in fp32.
    ///
    /// With `terms`, x is their sum, which is written there on the way, as it is kept; x may be one of them.
    public static func forward(
        _ x: StoredMatrix, sumOf terms: ResidualTerms? = nil, weight: Vector, epsilon: Float,
        into y: StoredMatrix, inverseRoot: Vector, on team: ThreadTeam = .alone
    ) {
        func forward<X: LaneNumber, Y: LaneNumber>(
            _ x: MatrixView<X>, _ terms: LaneTerms<X>?, _ y: MatrixView<Y>
        ) {
            RMSNorm.forward(of: x, terms, weight, epsilon, into: y, inverseRoot, on: team)
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
        of x: MatrixView<X>, _ terms: LaneTerms<X>?, _ weight: Vector, _ epsilon: Float,
        into y: MatrixView<Y>, _ inverseRoot: Vector, on team: ThreadTeam
    ) {
        precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
        checkParameters(x, weight: weight, inverseRoot: inverseRoot)
        team.split(x.rows, (x, terms, weight, epsilon, y, inverseRoot)) { operands, rows, _ in
            let (x, terms, weight, epsilon, y, inverseRoot) = operands
            forward(
                rows: x.rows(rows), terms?.rows(rows), weight, epsilon, into: y.rows(rows),
                inverseRoot.slice(rows))
        }
    }

    private static func forward<X: LaneNumber, Y: LaneNumber>(
        rows x: MatrixView<X>, _ terms: LaneTerms<X>?, _ weight: Vector, _ epsilon: Float,
        into y: MatrixView<Y>, _ inverseRoot: Vector
    ) {
        let width = x.columns
        let w = weight.base
        for row in 0..<x.rows {
            let source = x.base + row &* x.stride
            let target = y.base + row &* y.stride
            let squares: Float
            if let terms {
                @inline(always) func square(_ offset: Int, _ lanes: Int) -> Lanes {
                    let values = terms.add(row: row, offset, lanes, into: source + offset)
                    return values * values
                }
                squares = sumLanes(width, square)
            } else {
                @inline(always) func square(_ offset: Int, _ lanes: Int) -> Lanes {
                    let values = X.lanes(source + offset, lanes)
                    return values * values
                }
                squares = sumLanes(width, square)
            }
            let inverse = 1 / (squares / Float(width) + epsilon).squareRoot()
            @inline(always) func normalize(_ offset: Int, _ lanes: Int) {
                Y.store(
                    X.lanes(source + offset, lanes) * inverse * load(w + offset, lanes), target + offset,
                    lanes)
            }
            forEachLanes(width, normalize)
            inverseRoot.base[row] = inverse
        }
    }

    /// Adds the gradients to dx[t,h] and dWeight[h]; inverseRoot is that of the forward pass.
    ///
    /// With g = dy∘weight and x̂ = x·inverseRoot: dx += inverseRoot·(g - x̂·mean(g∘x̂)), dWeight += Σ dy∘x̂.
    public static func backward(
        _ dy: Matrix, x: Matrix, weight: Vector, inverseRoot: Vector, addingTo dx: Matrix, dWeight: Vector,
        on team: ThreadTeam = .alone
    ) {
        backward(dy, of: x, weight, inverseRoot, addingTo: dx, dWeight, on: team)
    }

    /// The same; x may be kept in 16 bits.
    public static func backward(
        _ dy: Matrix, x: StoredMatrix, weight: Vector, inverseRoot: Vector, addingTo dx: Matrix,
        dWeight: Vector, on team: ThreadTeam = .alone
    ) {
        switch x {
        case .full(let x): backward(dy, of: x, weight, inverseRoot, addingTo: dx, dWeight, on: team)
        case .half(let x, .bf16):
            backward(dy, of: x.of(BF16.self), weight, inverseRoot, addingTo: dx, dWeight, on: team)
        case .half(let x, .fp16):
            backward(dy, of: x.of(FP16.self), weight, inverseRoot, addingTo: dx, dWeight, on: team)
        }
    }

    private static func backward<X: LaneNumber>(
        _ dy: Matrix, of x: MatrixView<X>, _ weight: Vector, _ inverseRoot: Vector, addingTo dx: Matrix,
        _ dWeight: Vector, on team: ThreadTeam
    ) {
        precondition(
            dy.hasShape(of: x) && dx.hasShape(of: x),
            "gradients of \(dy.shape) and \(dx.shape) for an input of \(x.shape)")
        checkParameters(x, weight: weight, inverseRoot: inverseRoot)
        precondition(
            dWeight.count == x.columns, "a weight gradient of \(dWeight.count) for \(x.columns) columns")
        // Both gradients of some rows while a core's cache holds them.
        forEachRowBlock(x.rows, columns: 3 * x.columns, on: team) { rows in
            let (dy, x, dx) = (dy.rows(rows), x.rows(rows), dx.rows(rows))
            let inverseRoot = inverseRoot.slice(rows)
            team.split(x.rows, (dy, x, weight, inverseRoot, dx)) { operands, rows, _ in
                let (dy, x, weight, inverseRoot, dx) = operands
                inputGradient(
                    dy.rows(rows), x.rows(rows), weight, inverseRoot.slice(rows), addingTo: dx.rows(rows))
            }
            // By columns, so that no two threads add to one element and rows stay in order.
            team.split(x.columns, grain: 16, (dy, x, inverseRoot, dWeight)) { operands, columns, _ in
                let (dy, x, inverseRoot, dWeight) = operands
                weightGradient(dy.columns(columns), x.columns(columns), inverseRoot, dWeight.slice(columns))
            }
        }
    }

    private static func inputGradient<X: LaneNumber>(
        _ dy: Matrix, _ x: MatrixView<X>, _ weight: Vector, _ inverseRoot: Vector, addingTo dx: Matrix
    ) {
        let width = x.columns
        let w = weight.base
        for row in 0..<x.rows {
            let gradient = dy.base + row &* dy.stride
            let source = x.base + row &* x.stride
            let target = dx.base + row &* dx.stride
            let inverse = inverseRoot.base[row]
            @inline(always) func projection(_ offset: Int, _ lanes: Int) -> Lanes {
                load(gradient + offset, lanes) * load(w + offset, lanes) * X.lanes(source + offset, lanes)
            }
            // mean(g∘x̂)·inverseRoot, to be multiplied by x.
            let share = sumLanes(width, projection) / Float(width) * inverse * inverse
            @inline(always) func addGradient(_ offset: Int, _ lanes: Int) {
                let weighted = load(gradient + offset, lanes) * load(w + offset, lanes)
                let centred = X.lanes(source + offset, lanes).multiplyAdd(-share, weighted)
                store(centred.multiplyAdd(inverse, load(target + offset, lanes)), target + offset, lanes)
            }
            forEachLanes(width, addGradient)
        }
    }

    /// Sums stay in registers, 64 columns at a time: rows in ascending order.
    private static func weightGradient<X: LaneNumber>(
        _ dy: Matrix, _ x: MatrixView<X>, _ inverseRoot: Vector, _ dWeight: Vector
    ) {
        var column = 0
        while column &+ 64 <= x.columns {
            let dw = dWeight.base + column
            var (sum0, sum1) = (load(dw, 16), load(dw + 16, 16))
            var (sum2, sum3) = (load(dw + 32, 16), load(dw + 48, 16))
            for row in 0..<x.rows {
                let gradient = dy.base + (row &* dy.stride &+ column)
                let source = x.base + (row &* x.stride &+ column)
                let inverse = inverseRoot.base[row]
                @inline(always) func add(_ offset: Int, _ sum: inout Lanes) {
                    sum = load(gradient + offset, 16)
                        .multiplyAdd(X.lanes(source + offset, 16) * inverse, sum)
                }
                add(0, &sum0)
                add(16, &sum1)
                add(32, &sum2)
                add(48, &sum3)
            }
            store(sum0, dw, 16)
            store(sum1, dw + 16, 16)
            store(sum2, dw + 32, 16)
            store(sum3, dw + 48, 16)
            column &+= 64
        }
        while column < x.columns {
            let lanes = min(16, x.columns &- column)
            let dw = dWeight.base + column
            var sum = load(dw, lanes)
            for row in 0..<x.rows {
                let normalized =
                    X.lanes(x.base + (row &* x.stride &+ column), lanes) * inverseRoot.base[row]
                sum = load(dy.base + (row &* dy.stride &+ column), lanes).multiplyAdd(normalized, sum)
            }
            store(sum, dw, lanes)
            column &+= lanes
        }
    }

    private static func checkParameters<X: LaneNumber>(
        _ x: MatrixView<X>, weight: Vector, inverseRoot: Vector
    ) {
        precondition(weight.count == x.columns, "a weight of \(weight.count) for \(x.columns) columns")
        precondition(inverseRoot.count == x.rows, "\(inverseRoot.count) roots for \(x.rows) rows")
    }
}
