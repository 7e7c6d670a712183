/// Layer normalization over the last dimension (Ba, Kiros and Hinton 2016).
public enum LayerNorm {
    /// y[t,h] = x̂·weight + bias with x̂ = (x - mean)·inverseDeviation, per row; keeps the mean and
    /// 1/√(variance + epsilon) of every row for the backward pass. y may be x.
    public static func forward(
        _ x: Matrix, weight: Vector, bias: Vector, epsilon: Float, into y: Matrix,
        mean: Vector, inverseDeviation: Vector
    ) {
        precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
        checkParameters(x, weight: weight, bias: bias, mean: mean, inverseDeviation: inverseDeviation)
        let width = x.columns
        let w = weight.base
        let b = bias.base
        for row in 0..<x.rows {
            let source = x.base + row &* x.stride
            let target = y.base + row &* y.stride
            @inline(always) func value(_ offset: Int, _ lanes: Int) -> Lanes { load(source + offset, lanes) }
            let rowMean = sumLanes(width, value) / Float(width)
            @inline(always) func square(_ offset: Int, _ lanes: Int) -> Lanes {
                let centred = load(source + offset, lanes, fill: rowMean) - rowMean
                return centred * centred
            }
            let inverse = 1 / (sumLanes(width, square) / Float(width) + epsilon).squareRoot()
            @inline(always) func normalize(_ offset: Int, _ lanes: Int) {
                let normalized = (load(source + offset, lanes) - rowMean) * inverse
                store(
                    normalized.multiplyAdd(load(w + offset, lanes), load(b + offset, lanes)), target + offset,
                    lanes)
            }
            forEachLanes(width, normalize)
            mean.base[row] = rowMean
            inverseDeviation.base[row] = inverse
        }
    }

    /// Adds the gradients to dx[t,h], dWeight[h] and dBias[h]; mean and inverseDeviation are those of the forward
    /// pass.
    ///
    /// With g = dy∘weight: dx += inverseDeviation·(g - mean(g) - x̂·mean(g∘x̂)), dWeight += Σ dy∘x̂, dBias += Σ dy.
    public static func backward(
        _ dy: Matrix, x: Matrix, weight: Vector, mean: Vector, inverseDeviation: Vector,
        addingTo dx: Matrix, dWeight: Vector, dBias: Vector
    ) {
        precondition(
            dy.hasShape(of: x) && dx.hasShape(of: x),
            "gradients of \(dy.shape) and \(dx.shape) for an input of \(x.shape)")
        checkParameters(x, weight: weight, bias: dBias, mean: mean, inverseDeviation: inverseDeviation)
        precondition(
            dWeight.count == x.columns, "a weight gradient of \(dWeight.count) for \(x.columns) columns")
        let width = x.columns
        let w = weight.base
        let dw = dWeight.base
        let db = dBias.base
        for row in 0..<x.rows {
            let gradient = dy.base + row &* dy.stride
            let source = x.base + row &* x.stride
            let target = dx.base + row &* dx.stride
            let rowMean = mean.base[row]
            let inverse = inverseDeviation.base[row]
            var projection = Lanes.zero
            @inline(always) func accumulate(_ offset: Int, _ lanes: Int) -> Lanes {
                let upstream = load(gradient + offset, lanes)
                let normalized = (load(source + offset, lanes, fill: rowMean) - rowMean) * inverse
                store(upstream.multiplyAdd(normalized, load(dw + offset, lanes)), dw + offset, lanes)
                store(upstream + load(db + offset, lanes), db + offset, lanes)
                let weighted = upstream * load(w + offset, lanes)
                projection = weighted.multiplyAdd(normalized, projection)
                return weighted
            }
            let meanGradient = sumLanes(width, accumulate) / Float(width)
            let meanProjection = projection.total / Float(width)
            @inline(always) func addGradient(_ offset: Int, _ lanes: Int) {
                let weighted = load(gradient + offset, lanes) * load(w + offset, lanes)
                let normalized = (load(source + offset, lanes) - rowMean) * inverse
                let centred = normalized.multiplyAdd(-meanProjection, weighted - meanGradient)
                store(centred.multiplyAdd(inverse, load(target + offset, lanes)), target + offset, lanes)
            }
            forEachLanes(width, addGradient)
        }
    }

    private static func checkParameters(
        _ x: Matrix, weight: Vector, bias: Vector, mean: Vector, inverseDeviation: Vector
    ) {
        precondition(
            weight.count == x.columns && bias.count == x.columns,
            "a weight of \(weight.count) and a bias of \(bias.count) for \(x.columns) columns")
        precondition(
            mean.count == x.rows && inverseDeviation.count == x.rows,
            "\(mean.count) means and \(inverseDeviation.count) deviations for \(x.rows) rows")
    }
}
