/// Elementwise nonlinearity of the feed-forward layer.
public enum Activation: Sendable, CaseIterable {
    /// x·½(1 + tanh(√(2/π)(x + 0.044715x³))), GPT-2's form (Hendrycks and Gimpel 2016).
    case geluTanh
    /// x·Φ(x), Φ the standard normal distribution function.
    case geluErf
    /// max(x, 0)
    case relu
    /// x·σ(x), also called swish (Elfwing et al. 2017).
    case silu

    /// y = f(x); y may be x.
    public func forward(_ x: Matrix, into y: Matrix, on team: ThreadTeam = .alone) {
        forward(of: x, into: y, on: team)
    }

    /// The same, both of one format, rounded to it once.
    public func forward(_ x: StoredMatrix, into y: StoredMatrix, on team: ThreadTeam = .alone) {
        switch (x, y) {
        case (.full(let x), .full(let y)): forward(of: x, into: y, on: team)
        case (.half(let x, .bf16), .half(let y, .bf16)):
            forward(of: x.of(BF16.self), into: y.of(BF16.self), on: team)
        case (.half(let x, .fp16), .half(let y, .fp16)):
            forward(of: x.of(FP16.self), into: y.of(FP16.self), on: team)
        default: preconditionFailure("an input and an output of different formats")
        }
    }

    private func forward<Number: LaneNumber>(
        of x: MatrixView<Number>, into y: MatrixView<Number>, on team: ThreadTeam
    ) {
        precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            operands.0.forward(rows: operands.1.rows(rows), into: operands.2.rows(rows))
        }
    }

    private func forward<Number: LaneNumber>(rows x: MatrixView<Number>, into y: MatrixView<Number>) {
        switch self {
        case .geluTanh: mapElements(x, into: y, geluTanhValue)
        case .geluErf: mapElements(x, into: y, geluErfValue)
        case .relu: mapElements(x, into: y, reluValue)
        case .silu: mapElements(x, into: y, siluValue)
        }
    }

    /// dx = dy∘f′(x), x the input of the forward pass, and its `output` y = f(x) again, which the same exponentials give.
    /// dx may be dy.
    public func backward(
        _ dy: Matrix, x: Matrix, into dx: Matrix, output y: Matrix, on team: ThreadTeam = .alone
    ) {
        backward(dy, of: x, into: dx, output: y, on: team)
    }

    /// The same, x and y of one format, rounded to it once, and dy and dx both in fp32 or in bf16 like these.
    public func backward(
        _ dy: StoredMatrix, x: StoredMatrix, into dx: StoredMatrix, output y: StoredMatrix,
        on team: ThreadTeam = .alone
    ) {
        switch (dy, x, dx, y) {
        case (.full(let dy), .full(let x), .full(let dx), .full(let y)):
            backward(dy, of: x, into: dx, output: y, on: team)
        case (.full(let dy), .half(let x, .bf16), .full(let dx), .half(let y, .bf16)):
            backward(dy, of: x.of(BF16.self), into: dx, output: y.of(BF16.self), on: team)
        case (.full(let dy), .half(let x, .fp16), .full(let dx), .half(let y, .fp16)):
            backward(dy, of: x.of(FP16.self), into: dx, output: y.of(FP16.self), on: team)
        case (.half(let dy, .bf16), .half(let x, .bf16), .half(let dx, .bf16), .half(let y, .bf16)):
            backward(
                dy.of(BF16.self), of: x.of(BF16.self), into: dx.of(BF16.self), output: y.of(BF16.self),
                on: team)
        default: preconditionFailure("inputs, outputs and gradients of different formats")
        }
    }

    private func backward<Number: LaneNumber, Gradient: LaneNumber>(
        _ dy: MatrixView<Gradient>, of x: MatrixView<Number>, into dx: MatrixView<Gradient>,
        output y: MatrixView<Number>, on team: ThreadTeam
    ) {
        precondition(
            x.hasShape(of: dy) && x.hasShape(of: dx) && x.hasShape(of: y),
            "gradients of \(dy.shape) and \(dx.shape) for an input of \(x.shape)")
        team.split(x.rows, (self, dy, x, dx, y)) { operands, rows, _ in
            let (activation, dy, x, dx, y) = operands
            activation.backward(
                rows: dy.rows(rows), x: x.rows(rows), into: dx.rows(rows), output: y.rows(rows))
        }
    }

    private func backward<Number: LaneNumber, Gradient: LaneNumber>(
        rows dy: MatrixView<Gradient>, x: MatrixView<Number>, into dx: MatrixView<Gradient>,
        output y: MatrixView<Number>
    ) {
        @inline(always) func map(_ value: (Lanes) -> Lanes, _ gradient: (Lanes, Lanes) -> Lanes) {
            mapElements(dy, x, into: dx, and: y) { dy, x in (gradient(dy, x), value(x)) }
        }
        switch self {
        case .geluTanh: map(geluTanhValue, geluTanhGradient)
        case .geluErf: map(geluErfValue, geluErfGradient)
        case .relu: map(reluValue, reluGradient)
        case .silu: map(siluValue, siluGradient)
        }
    }
}

// MARK: Gated linear units (Shazeer 2020): SwiGLU is SiLU's

extension Activation {
    /// y = f(gate)∘up; y may be either.
    public func gatedForward(gate: Matrix, up: Matrix, into y: Matrix, on team: ThreadTeam = .alone) {
        gatedForward(of: gate, up, into: y, on: team)
    }

    /// The same, all of one format, rounded to it once.
    public func gatedForward(
        gate: StoredMatrix, up: StoredMatrix, into y: StoredMatrix, on team: ThreadTeam = .alone
    ) {
        switch (gate, up, y) {
        case (.full(let gate), .full(let up), .full(let y)): gatedForward(of: gate, up, into: y, on: team)
        case (.half(let gate, .bf16), .half(let up, .bf16), .half(let y, .bf16)):
            gatedForward(of: gate.of(BF16.self), up.of(BF16.self), into: y.of(BF16.self), on: team)
        case (.half(let gate, .fp16), .half(let up, .fp16), .half(let y, .fp16)):
            gatedForward(of: gate.of(FP16.self), up.of(FP16.self), into: y.of(FP16.self), on: team)
        default: preconditionFailure("gates, inputs and outputs of different formats")
        }
    }

    private func gatedForward<Number: LaneNumber>(
        of gate: MatrixView<Number>, _ up: MatrixView<Number>, into y: MatrixView<Number>, on team: ThreadTeam
    ) {
        precondition(
            gate.hasShape(of: up) && gate.hasShape(of: y),
            "gates of \(gate.shape) for \(up.shape) elements into \(y.shape)")
        team.split(gate.rows, (self, gate, up, y)) { operands, rows, _ in
            let (activation, gate, up, y) = operands
            activation.gatedForward(rows: gate.rows(rows), up.rows(rows), into: y.rows(rows))
        }
    }

    private func gatedForward<Number: LaneNumber>(
        rows gate: MatrixView<Number>, _ up: MatrixView<Number>, into y: MatrixView<Number>
    ) {
        @inline(always) func map(_ value: (Lanes) -> Lanes) {
            mapElements(gate, up, into: y) { gate, up in value(gate) * up }
        }
        switch self {
        case .geluTanh: map(geluTanhValue)
        case .geluErf: map(geluErfValue)
        case .relu: map(reluValue)
        case .silu: map(siluValue)
        }
    }

    /// dGate = dy∘up∘f′(gate) and dUp = dy∘f(gate), of the forward pass's gate and up, and its `output` y = f(gate)∘up
    /// again; dGate or dUp may be dy.
    public func gatedBackward(
        _ dy: Matrix, gate: Matrix, up: Matrix, intoGate dGate: Matrix, intoUp dUp: Matrix,
        output y: Matrix, on team: ThreadTeam = .alone
    ) {
        gatedBackward(dy, of: gate, up, intoGate: dGate, intoUp: dUp, output: y, on: team)
    }

    /// The same; gate, up and y of one format, rounded to it once, and the gradients all in fp32 or in bf16 like these.
    public func gatedBackward(
        _ dy: StoredMatrix, gate: StoredMatrix, up: StoredMatrix, intoGate dGate: StoredMatrix,
        intoUp dUp: StoredMatrix, output y: StoredMatrix, on team: ThreadTeam = .alone
    ) {
        func backward<Number: LaneNumber>(
            _ gate: MatrixView<Number>, _ up: MatrixView<Number>, _ y: MatrixView<Number>
        ) {
            switch (dy, dGate, dUp) {
            case (.full(let dy), .full(let dGate), .full(let dUp)):
                gatedBackward(dy, of: gate, up, intoGate: dGate, intoUp: dUp, output: y, on: team)
            case (.half(let dy, .bf16), .half(let dGate, .bf16), .half(let dUp, .bf16)):
                gatedBackward(
                    dy.of(BF16.self), of: gate, up, intoGate: dGate.of(BF16.self),
                    intoUp: dUp.of(BF16.self), output: y, on: team)
            default: preconditionFailure("gradients of different formats")
            }
        }
        switch (gate, up, y) {
        case (.full(let gate), .full(let up), .full(let y)): backward(gate, up, y)
        case (.half(let gate, .bf16), .half(let up, .bf16), .half(let y, .bf16)):
            backward(gate.of(BF16.self), up.of(BF16.self), y.of(BF16.self))
        case (.half(let gate, .fp16), .half(let up, .fp16), .half(let y, .fp16)):
            backward(gate.of(FP16.self), up.of(FP16.self), y.of(FP16.self))
        default: preconditionFailure("gates, inputs and outputs of different formats")
        }
    }

    private func gatedBackward<Number: LaneNumber, Gradient: LaneNumber>(
        _ dy: MatrixView<Gradient>, of gate: MatrixView<Number>, _ up: MatrixView<Number>,
        intoGate dGate: MatrixView<Gradient>, intoUp dUp: MatrixView<Gradient>,
        output y: MatrixView<Number>, on team: ThreadTeam
    ) {
        precondition(
            gate.hasShape(of: up) && gate.hasShape(of: dy) && gate.hasShape(of: dGate)
                && gate.hasShape(of: dUp) && gate.hasShape(of: y),
            "gradients of \(dy.shape), \(dGate.shape) and \(dUp.shape) for gates of \(gate.shape)")
        team.split(gate.rows, (self, dy, gate, up, dGate, dUp, y)) { operands, rows, _ in
            let (activation, dy, gate, up, dGate, dUp, y) = operands
            activation.gatedBackward(
                rows: dy.rows(rows), gate.rows(rows), up.rows(rows), dGate.rows(rows), dUp.rows(rows),
                y.rows(rows))
        }
    }

    private func gatedBackward<Number: LaneNumber, Gradient: LaneNumber>(
        rows dy: MatrixView<Gradient>, _ gate: MatrixView<Number>, _ up: MatrixView<Number>,
        _ dGate: MatrixView<Gradient>, _ dUp: MatrixView<Gradient>, _ y: MatrixView<Number>
    ) {
        @inline(always) func map(_ value: (Lanes) -> Lanes, _ gradient: (Lanes, Lanes) -> Lanes) {
            for row in 0..<dy.rows {
                let (upstream, gates) = (dy.base + row &* dy.stride, gate.base + row &* gate.stride)
                let ups = up.base + row &* up.stride
                let (first, second) = (dGate.base + row &* dGate.stride, dUp.base + row &* dUp.stride)
                let third = y.base + row &* y.stride
                @inline(always) func differentiate(_ offset: Int, _ lanes: Int) {
                    let (dy, gate) = (
                        Gradient.lanes(upstream + offset, lanes), Number.lanes(gates + offset, lanes)
                    )
                    let (up, through) = (Number.lanes(ups + offset, lanes), value(gate))
                    Gradient.store(gradient(dy * up, gate), first + offset, lanes)
                    Gradient.store(dy * through, second + offset, lanes)
                    Number.store(through * up, third + offset, lanes)
                }
                forEachLanes(dy.columns, differentiate)
            }
        }
        switch self {
        case .geluTanh: map(geluTanhValue, geluTanhGradient)
        case .geluErf: map(geluErfValue, geluErfGradient)
        case .relu: map(reluValue, reluGradient)
        case .silu: map(siluValue, siluGradient)
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
    let negative = x * (x * x).multiplyAdd(-geluCubic, Lanes(repeating: -geluLinear))
    return 1 / (1 + negative.exponential)
}

@inline(always)
private func geluTanhValue(_ x: Lanes) -> Lanes { x * geluSigmoid(x) }

@inline(always)
private func geluTanhGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    let sigmoid = geluSigmoid(x)
    let y = x * sigmoid
    let slope = (x * x).multiplyAdd(3 * geluCubic, Lanes(repeating: geluLinear))
    return dy * (y * (1 - sigmoid)).multiplyAdd(slope, sigmoid)
}

@inline(always)
private func geluErfValue(_ x: Lanes) -> Lanes { x * x.normalDistribution.cumulative }

@inline(always)
private func geluErfGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    let normal = x.normalDistribution
    return dy * x.multiplyAdd(normal.density, normal.cumulative)
}

@inline(always)
private func siluValue(_ x: Lanes) -> Lanes { x * sigmoid(x) }

@inline(always)
private func siluGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    let sigmoid = sigmoid(x)
    return dy * (sigmoid * (1 - sigmoid)).multiplyAdd(x, sigmoid)
}

/// 1/(1 + e^-x)
@inline(always)
private func sigmoid(_ x: Lanes) -> Lanes { 1 / (1 + (Lanes.zero - x).exponential) }

@inline(always)
private func reluValue(_ x: Lanes) -> Lanes { x.replacing(with: Lanes.zero, where: x .< Lanes.zero) }

@inline(always)
private func reluGradient(_ dy: Lanes, _ x: Lanes) -> Lanes {
    dy.replacing(with: Lanes.zero, where: x .<= Lanes.zero)
}
