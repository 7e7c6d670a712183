/// A 16-bit format in which fp32 numbers are kept, and the way there and back.
public enum HalfFormat: String, Sendable, CaseIterable {
    /// The upper half of an fp32 number: its range, and 8 bits of precision.
    case bf16
    /// IEEE 754 binary16: up to 65504, and 11 bits of precision.
    case fp16

    /// y = x rounded to nearest, of two as near to even, and x = y, so that who goes on with x goes on with what is kept.
    public func round(_ x: Matrix, into y: MatrixView<UInt16>, on team: ThreadTeam = .alone) {
        checkShapes(x, y)
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            let (format, x, y) = operands
            switch format {
            case .bf16: BF16.round(x.rows(rows), y.rows(rows))
            case .fp16: FP16.round(x.rows(rows), y.rows(rows))
            }
        }
    }

    /// x = y, exactly.
    public func widen(_ y: MatrixView<UInt16>, into x: Matrix, on team: ThreadTeam = .alone) {
        checkShapes(x, y)
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            let (format, x, y) = operands
            switch format {
            case .bf16: BF16.widen(y.rows(rows), x.rows(rows))
            case .fp16: FP16.widen(y.rows(rows), x.rows(rows))
            }
        }
    }

    private func checkShapes(_ x: Matrix, _ y: MatrixView<UInt16>) {
        precondition(
            x.rows == y.rows && x.columns == y.columns, "\(x.shape) elements do not fit \(y.shape)")
    }
}

/// The numbers of a format. A type, not a closure, for each: closures stayed calls, once for every vector.
private protocol HalfNumbers {
    static func narrow(_ numbers: Lanes) -> HalfLanes
    static func wide(_ bits: HalfLanes) -> Lanes
}

private enum BF16: HalfNumbers {
    @inline(always) static func narrow(_ numbers: Lanes) -> HalfLanes { numbers.roundedToBF16 }
    @inline(always) static func wide(_ bits: HalfLanes) -> Lanes { Lanes(bf16: bits) }
}

private enum FP16: HalfNumbers {
    @inline(always) static func narrow(_ numbers: Lanes) -> HalfLanes { numbers.roundedToFP16 }
    @inline(always) static func wide(_ bits: HalfLanes) -> Lanes { Lanes(fp16: bits) }
}

extension HalfNumbers {
    @inline(always)
    fileprivate static func round(_ x: Matrix, _ y: MatrixView<UInt16>) {
        for row in 0..<x.rows {
            let source = x.base + row &* x.stride
            let target = y.base + row &* y.stride
            @inline(always) func convert(_ offset: Int, _ lanes: Int) {
                let halves = narrow(load(source + offset, lanes))
                store(halves, target + offset, lanes)
                store(wide(halves), source + offset, lanes)
            }
            forEachLanes(x.columns, convert)
        }
    }

    @inline(always)
    fileprivate static func widen(_ y: MatrixView<UInt16>, _ x: Matrix) {
        for row in 0..<x.rows {
            let source = y.base + row &* y.stride
            let target = x.base + row &* x.stride
            @inline(always) func convert(_ offset: Int, _ lanes: Int) {
                store(wide(load(source + offset, lanes)), target + offset, lanes)
            }
            forEachLanes(x.columns, convert)
        }
    }
}
