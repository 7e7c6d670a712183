/// Elementwise nonlinearity of the feed-forward layer.
public enum Activation: Sendable {
    /// x·½(1 + tanh(√(2/π)(x + 0.044715x³))), GPT-2's form (Hendrycks and Gimpel 2016).
    case geluTanh
    /// x·Φ(x), Φ the standard normal distribution function.
    case geluErf
    /// max(x, 0)
    case relu

    /// y = f(x); y may be x.
    public func forward(_ x: Matrix, into y: Matrix, on team: ThreadTeam = .alone) {
        precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            operands.0.forward(rows: operands.1.rows(rows), into: operands.2.rows(rows))
        }
    }

    private func forward(rows x: Matrix, into y: Matrix) {
        switch self {
        case .geluTanh: mapElements(x, into: y, geluTanhValue)
        case .geluErf: mapElements(x, into: y, geluErfValue)
        case .relu: mapElements(x, into: y, reluValue)
        }
    }

    /// dx = dy∘f′(x), x the input of the forward pass; dx may be dy.
    public func backward(_ dy: Matrix, x: Matrix, into dx: Matrix, on team: ThreadTeam = .alone) {
        precondition(
            x.hasShape(of: dy) && x.hasShape(of: dx),
            "gradients of \(dy.shape) and \(dx.shape) for an input of \(x.shape)")
        team.split(x.rows, (self, dy, x, dx)) { operands, rows, _ in
            let (activation, dy, x, dx) = operands
            activation.backward(rows: dy.rows(rows), x: x.rows(rows), into: dx.rows(rows))
        }
    }

    private func backward(rows dy: Matrix, x: Matrix, into dx: Matrix) {
        switch self {
        case .geluTanh: mapElements(dy, x, into: dx, geluTanhGradient)
        case .geluErf: mapElements(dy, x, into: dx, geluErfGradient)
        case .relu: mapElements(dy, x, into: dx, reluGradient)
        }
    }
}

/// √(2/π)·2 and 0.044715 times that: GELU's tanh form is x·σ(v), v = linear·x + cubic·x³, because ½(1 + tanh u) = σ(2u).
/// So tanh is not needed, and the lower tail keeps its relative precision.
private let geluLinear: Float = 1.595_769_1
private let geluCubic: Float = 0.071_354_814

/// σ(v) = 1/(1 + e^-v)
@inline(always)
private func geluSigmoid(_ x: Lanes) -> Lanes {
    let exponent = (Lanes.zero - x) * (x * x).multiplyAdd(geluCubic, Lanes(repeating: geluLinear))
    return 1 / (1 + exponent.exponential)
}

@inline(always)
private func geluTanhValue(_ x: Lanes) -> Lanes { x * geluSigmoid(x) }

@inline(always)
private func geluTanhGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    let sigmoid = geluSigmoid(x)
    let slope = (x * x).multiplyAdd(3 * geluCubic, Lanes(repeating: geluLinear))
    return dy * (sigmoid * (1 - sigmoid) * x).multiplyAdd(slope, sigmoid)
}

@inline(always)
private func geluErfValue(_ x: Lanes) -> Lanes { x * x.normalDistribution.cumulative }

@inline(always)
private func geluErfGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    let normal = x.normalDistribution
    return dy * x.multiplyAdd(normal.density, normal.cumulative)
}

@inline(always)
private func reluValue(_ x: Lanes) -> Lanes { x.replacing(with: Lanes.zero, where: x .< Lanes.zero) }

@inline(always)
private func reluGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    dy.replacing(with: Lanes.zero, where: x .<= Lanes.zero)
}
