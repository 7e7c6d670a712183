/// y[i,j] = body(x[i,j]); y may be x.
@inline(always)
func mapElements<X: LaneNumber, Y: LaneNumber>(
    _ x: MatrixView<X>, into y: MatrixView<Y>, _ body: (Lanes) -> Lanes
) {
    precondition(x.hasShape(of: y), "\(x.shape) elements do not fit \(y.shape)")
    for row in 0..<x.rows {
        let source = x.base + row &* x.stride
        let target = y.base + row &* y.stride
        @inline(always) func map(_ offset: Int, _ lanes: Int) {
            Y.store(body(X.lanes(source + offset, lanes)), target + offset, lanes)
        }
        forEachLanes(x.columns, map)
    }
}

/// z[i,j] = body(x[i,j], y[i,j]); z may be x or y.
@inline(always)
func mapElements<X: LaneNumber, Y: LaneNumber, Z: LaneNumber>(
    _ x: MatrixView<X>, _ y: MatrixView<Y>, into z: MatrixView<Z>, _ body: (Lanes, Lanes) -> Lanes
) {
    precondition(
        x.hasShape(of: y) && x.hasShape(of: z), "\(x.shape) and \(y.shape) elements do not fit \(z.shape)")
    for row in 0..<x.rows {
        let first = x.base + row &* x.stride
        let second = y.base + row &* y.stride
        let target = z.base + row &* z.stride
        @inline(always) func map(_ offset: Int, _ lanes: Int) {
            Z.store(
                body(X.lanes(first + offset, lanes), Y.lanes(second + offset, lanes)), target + offset, lanes)
        }
        forEachLanes(x.columns, map)
    }
}

/// (z[i,j], w[i,j]) = body(x[i,j], y[i,j]); z and w may be x or y.
@inline(always)
func mapElements<X: LaneNumber, Y: LaneNumber, Z: LaneNumber, W: LaneNumber>(
    _ x: MatrixView<X>, _ y: MatrixView<Y>, into z: MatrixView<Z>, and w: MatrixView<W>,
    _ body: (Lanes, Lanes) -> (Lanes, Lanes)
) {
    precondition(
        x.hasShape(of: y) && x.hasShape(of: z) && x.hasShape(of: w),
        "\(x.shape) and \(y.shape) elements do not fit \(z.shape) and \(w.shape)")
    for row in 0..<x.rows {
        let (first, second) = (x.base + row &* x.stride, y.base + row &* y.stride)
        let (third, fourth) = (z.base + row &* z.stride, w.base + row &* w.stride)
        @inline(always) func map(_ offset: Int, _ lanes: Int) {
            let result = body(X.lanes(first + offset, lanes), Y.lanes(second + offset, lanes))
            Z.store(result.0, third + offset, lanes)
            W.store(result.1, fourth + offset, lanes)
        }
        forEachLanes(x.columns, map)
    }
}

/// Calls `body` for ranges that cover 0 ..< `rows`, in ascending order: as many rows of `columns` elements at once as the
/// threads of `team` hold in the caches of their cores, for what goes over them more than once.
@inline(always)
func forEachRowBlock(_ rows: Int, columns: Int, on team: ThreadTeam, _ body: (Range<Int>) -> Void) {
    // Half of the second-level cache of a small core (512 KiB, Zen).
    let elementsOfCache = (256 << 10) / 4
    let size = max(8, team.count &* elementsOfCache / max(1, columns))
    var first = 0
    while first < rows {
        let end = min(rows, first &+ size)
        body(first..<end)
        first = end
    }
}

extension MatrixView {
    @inline(always)
    func hasShape<Other>(of other: MatrixView<Other>) -> Bool {
        rows == other.rows && columns == other.columns
    }

    /// For messages: `3 × 17`.
    var shape: String { "\(rows) × \(columns)" }
}
