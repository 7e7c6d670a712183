/// Elementwise nonlinearity of the feed-forward layer.
public enum Activation: Sendable {
    /// x·½(1 + tanh(√(2/π)(x + 0.044715x³))), GPT-2's form (Hendrycks and Gimpel 2016).
    case geluTanh
    /// x·Φ(x), Φ the standard normal distribution function.
    case geluErf
    /// max(x, 0)
    case relu

    /// y = f(x); y may be x.
    public func forward(_ x: Matrix, into y: Matrix) {
        switch self {
        case .geluTanh: mapElements(x, into: y) { $0 * geluSigmoid($0).value }
        case .geluErf: mapElements(x, into: y) { $0 * $0.normalDistribution.cumulative }
        case .relu: mapElements(x, into: y) { $0.replacing(with: Lanes.zero, where: $0 .< Lanes.zero) }
        }
    }

    /// dx = dy∘f′(x), x the input of the forward pass; dx may be dy.
    public func backward(_ dy: Matrix, x: Matrix, into dx: Matrix) {
        switch self {
        case .geluTanh:
            mapElements(dy, x, into: dx) { dy, x in
                let sigmoid = geluSigmoid(x)
                let change = sigmoid.value * (1 - sigmoid.value) * x
                return dy * change.multiplyAdd(sigmoid.slope, sigmoid.value)
            }
        case .geluErf:
            mapElements(dy, x, into: dx) { dy, x in
                let normal = x.normalDistribution
                return dy * x.multiplyAdd(normal.density, normal.cumulative)
            }
        case .relu:
            mapElements(dy, x, into: dx) { dy, x in
                dy.replacing(with: Lanes.zero, where: x .<= Lanes.zero)
            }
        }
    }
}

/// σ(v) = 1/(1 + e^-v) at v = 2√(2/π)(x + 0.044715x³), and the slope dv/dx.
///
/// ½(1 + tanh u) = σ(2u), so tanh is not needed, and the lower tail keeps its relative precision.
@inline(__always)
private func geluSigmoid(_ x: Lanes) -> (value: Lanes, slope: Lanes) {
    let linear: Float = 1.595_769_1
    let cubic: Float = 0.071_354_814
    let square = x * x
    let exponent = (Lanes.zero - x) * square.multiplyAdd(cubic, Lanes(repeating: linear))
    return (1 / (1 + exponent.exponential), square.multiplyAdd(3 * cubic, Lanes(repeating: linear)))
}
