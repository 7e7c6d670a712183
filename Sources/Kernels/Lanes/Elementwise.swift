/// y[i,j] = body(x[i,j]); y may be x.
@inline(__always)
func mapElements(_ x: Matrix, into y: Matrix, _ body: (Lanes) -> Lanes) {
    precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
    for row in 0..<x.rows {
        let source = x.base + row &* x.stride
        let target = y.base + row &* y.stride
        forEachLanes(x.columns) { offset, lanes in
            store(body(load(source + offset, lanes)), target + offset, lanes)
        }
    }
}

/// z[i,j] = body(x[i,j], y[i,j]); z may be x or y.
@inline(__always)
func mapElements(_ x: Matrix, _ y: Matrix, into z: Matrix, _ body: (Lanes, Lanes) -> Lanes) {
    precondition(
        x.hasShape(of: y) && x.hasShape(of: z), "\(x.shape) and \(y.shape) elements do not fit \(z.shape)")
    for row in 0..<x.rows {
        let first = x.base + row &* x.stride
        let second = y.base + row &* y.stride
        let target = z.base + row &* z.stride
        forEachLanes(x.columns) { offset, lanes in
            store(body(load(first + offset, lanes), load(second + offset, lanes)), target + offset, lanes)
        }
    }
}

extension MatrixView {
    @inline(__always)
    func hasShape(of other: MatrixView) -> Bool { rows == other.rows && columns == other.columns }

    /// For messages: `3 × 17`.
    var shape: String { "\(rows) × \(columns)" }
}
