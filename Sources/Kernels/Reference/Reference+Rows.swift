#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

extension Reference {
    /// y = (x - mean)/√(variance + epsilon)·weight + bias, per row.
    public static func layerNorm(
        _ x: ReferenceMatrix, weight: [Double], bias: [Double], epsilon: Double
    ) -> ReferenceMatrix {
        var y = x
        for row in 0..<x.rows {
            let normalized = normalize(x.row(row), epsilon: epsilon).values
            for column in 0..<x.columns {
                y[row, column] = normalized[column] * weight[column] + bias[column]
            }
        }
        return y
    }

    /// Gradients of `layerNorm` for its input, weight and bias.
    public static func layerNormBackward(
        _ dy: ReferenceMatrix, x: ReferenceMatrix, weight: [Double], epsilon: Double
    ) -> (dx: ReferenceMatrix, dWeight: [Double], dBias: [Double]) {
        var dx = x
        var dWeight = [Double](repeating: 0, count: x.columns)
        for row in 0..<x.rows {
            let (normalized, inverse) = normalize(x.row(row), epsilon: epsilon)
            let g = zip(dy.row(row), weight).map { $0 * $1 }
            let meanG = g.reduce(0, +) / Double(x.columns)
            let projection = zip(g, normalized).reduce(0) { $0 + $1.0 * $1.1 } / Double(x.columns)
            for column in 0..<x.columns {
                dx[row, column] = inverse * (g[column] - meanG - normalized[column] * projection)
                dWeight[column] += dy[row, column] * normalized[column]
            }
        }
        return (dx, dWeight, columnSums(dy))
    }

    /// x̂ = (x - mean)/√(variance + epsilon), and the factor.
    public static func normalize(_ x: [Double], epsilon: Double) -> (
        values: [Double], inverseDeviation: Double
    ) {
        let mean = x.reduce(0, +) / Double(x.count)
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
        let inverse = 1 / (variance + epsilon).squareRoot()
        return (x.map { ($0 - mean) * inverse }, inverse)
    }

    /// y = x/√(mean(x²) + epsilon)·weight, per row.
    public static func rmsNorm(_ x: ReferenceMatrix, weight: [Double], epsilon: Double) -> ReferenceMatrix {
        var y = x
        for row in 0..<x.rows {
            let inverse = inverseRoot(x.row(row), epsilon: epsilon)
            for column in 0..<x.columns { y[row, column] *= inverse * weight[column] }
        }
        return y
    }

    /// Gradients of `rmsNorm` for its input and weight.
    public static func rmsNormBackward(
        _ dy: ReferenceMatrix, x: ReferenceMatrix, weight: [Double], epsilon: Double
    ) -> (dx: ReferenceMatrix, dWeight: [Double]) {
        var dx = x
        var dWeight = [Double](repeating: 0, count: x.columns)
        for row in 0..<x.rows {
            let inverse = inverseRoot(x.row(row), epsilon: epsilon)
            let g = zip(dy.row(row), weight).map { $0 * $1 }
            let projection = zip(g, x.row(row)).reduce(0) { $0 + $1.0 * $1.1 } / Double(x.columns)
            for column in 0..<x.columns {
                dx[row, column] = inverse * (g[column] - x[row, column] * inverse * inverse * projection)
                dWeight[column] += dy[row, column] * x[row, column] * inverse
            }
        }
        return (dx, dWeight)
    }

    /// 1/√(mean(x²) + epsilon)
    public static func inverseRoot(_ x: [Double], epsilon: Double) -> Double {
        1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + epsilon).squareRoot()
    }

    /// Row i, of position i mod `length`, as pairs of elements j and j + d/2 of each head of width d, as complex numbers
    /// times e^(i·angle), or e^(-i·angle) when inverse.
    public static func rotary(
        _ x: ReferenceMatrix, headWidth d: Int, length: Int, base: Double, inverse: Bool
    ) -> ReferenceMatrix {
        var y = x
        for row in 0..<x.rows {
            for column in 0..<x.columns where column % d < d / 2 {
                let turn = Double(row % length) / pow(base, Double(2 * (column % d)) / Double(d))
                let angle = inverse ? -turn : turn
                let (a, b) = (x[row, column], x[row, column + d / 2])
                y[row, column] = a * cos(angle) - b * sin(angle)
                y[row, column + d / 2] = a * sin(angle) + b * cos(angle)
            }
        }
        return y
    }

    public static func activation(_ kind: Activation, _ x: Double) -> Double {
        switch kind {
        case .geluTanh: 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        case .geluErf: 0.5 * x * (1 + erf(x * 0.5.squareRoot()))
        case .relu: max(x, 0)
        case .silu: x / (1 + exp(-x))
        }
    }

    public static func activationDerivative(_ kind: Activation, _ x: Double) -> Double {
        switch kind {
        case .geluTanh:
            let factor = (2 / Double.pi).squareRoot()
            let t = tanh(factor * (x + 0.044715 * x * x * x))
            return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * factor * (1 + 3 * 0.044715 * x * x)
        case .geluErf:
            return 0.5 * (1 + erf(x * 0.5.squareRoot())) + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot()
        case .relu:
            return x > 0 ? 1 : 0
        case .silu:
            let sigmoid = 1 / (1 + exp(-x))
            return sigmoid * (1 + x * (1 - sigmoid))
        }
    }

    /// Row i is softmax(scores[i, 0...i]), zero after column i; and log Σ e^score per row.
    public static func causalSoftmax(
        _ scores: ReferenceMatrix
    ) -> (probabilities: ReferenceMatrix, logSumExp: [Double]) {
        var probabilities = ReferenceMatrix(rows: scores.rows, columns: scores.columns)
        var logSumExp: [Double] = []
        for row in 0..<scores.rows {
            let normalizer = logSum(scores.row(row)[0...row])
            logSumExp.append(normalizer)
            for column in 0...row { probabilities[row, column] = exp(scores[row, column] - normalizer) }
        }
        return (probabilities, logSumExp)
    }

    /// dS[i,j] = P[i,j]·(dP[i,j] - Σ_k P[i,k]·dP[i,k])
    public static func causalSoftmaxBackward(
        _ dP: ReferenceMatrix, probabilities: ReferenceMatrix
    ) -> ReferenceMatrix {
        var dS = ReferenceMatrix(rows: dP.rows, columns: dP.columns)
        for row in 0..<dP.rows {
            let delta = (0...row).reduce(0) { $0 + probabilities[row, $1] * dP[row, $1] }
            for column in 0...row {
                dS[row, column] = probabilities[row, column] * (dP[row, column] - delta)
            }
        }
        return dS
    }

    /// Σ -log softmax(logits)[target] over targets that are not ignored.
    public static func crossEntropy(
        _ logits: ReferenceMatrix, targets: [Int32], labelSmoothing: Double = 0
    ) -> Double {
        (0..<logits.rows).reduce(0) { sum, row in
            guard targets[row] != CrossEntropy.ignoredTarget else { return sum }
            let values = logits.row(row)
            let normalizer = logSum(values[...])
            let mean = values.reduce(0) { $0 + normalizer - $1 } / Double(values.count)
            return sum + (1 - labelSmoothing) * (normalizer - values[Int(targets[row])])
                + labelSmoothing * mean
        }
    }

    /// softmax(logits), minus the weight of each class; zero for ignored targets.
    public static func crossEntropyBackward(
        _ logits: ReferenceMatrix, targets: [Int32], labelSmoothing: Double = 0
    ) -> ReferenceMatrix {
        var gradient = ReferenceMatrix(rows: logits.rows, columns: logits.columns)
        for row in 0..<logits.rows where targets[row] != CrossEntropy.ignoredTarget {
            let normalizer = logSum(logits.row(row)[...])
            for column in 0..<logits.columns {
                gradient[row, column] =
                    exp(logits[row, column] - normalizer) - labelSmoothing / Double(logits.columns)
                    - (column == Int(targets[row]) ? 1 - labelSmoothing : 0)
            }
        }
        return gradient
    }

    /// log Σ e^value
    private static func logSum(_ values: ArraySlice<Double>) -> Double {
        let largest = values.max()!
        return largest + log(values.reduce(0) { $0 + exp($1 - largest) })
    }
}
