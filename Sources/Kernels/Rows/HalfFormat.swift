/// A 16-bit format in which fp32 numbers are kept, and the way there and back.
public enum HalfFormat: String, Sendable, CaseIterable {
    /// The upper half of an fp32 number: its range, and 8 bits of precision.
    case bf16
    /// IEEE 754 binary16: up to 65504, and 11 bits of precision.
    case fp16

    /// y = x rounded to nearest, of two as near to even.
    public func narrow(_ x: Matrix, into y: MatrixView<UInt16>, on team: ThreadTeam = .alone) {
        checkShapes(x, y)
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            let (format, x, y) = operands
            @inline(always) func same(_ x: Lanes) -> Lanes { x }
            switch format {
            case .bf16: mapElements(x.rows(rows), into: y.rows(rows).of(BF16.self), same)
            case .fp16: mapElements(x.rows(rows), into: y.rows(rows).of(FP16.self), same)
            }
        }
    }

    /// The same, and x = y, so that who goes on with x goes on with what is kept.
    public func round(_ x: Matrix, into y: MatrixView<UInt16>, on team: ThreadTeam = .alone) {
        checkShapes(x, y)
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            let (format, x, y) = operands
            switch format {
            case .bf16: BF16.round(x.rows(rows), y.rows(rows).of(BF16.self))
            case .fp16: FP16.round(x.rows(rows), y.rows(rows).of(FP16.self))
            }
        }
    }

    /// x = y, exactly.
    public func widen(_ y: MatrixView<UInt16>, into x: Matrix, on team: ThreadTeam = .alone) {
        checkShapes(x, y)
        team.split(x.rows, (self, x, y)) { operands, rows, _ in
            let (format, x, y) = operands
            @inline(always) func same(_ x: Lanes) -> Lanes { x }
            switch format {
            case .bf16: mapElements(y.rows(rows).of(BF16.self), into: x.rows(rows), same)
            case .fp16: mapElements(y.rows(rows).of(FP16.self), into: x.rows(rows), same)
            }
        }
    }

    private func checkShapes(_ x: Matrix, _ y: MatrixView<UInt16>) {
        precondition(
            x.rows == y.rows && x.columns == y.columns, "\(x.shape) elements do not fit \(y.shape)")
    }
}

extension HalfNumber {
    @inline(always)
    fileprivate static func round(_ x: Matrix, _ y: MatrixView<Self>) {
        for row in 0..<x.rows {
            let source = x.base + row &* x.stride
            let target = y.base + row &* y.stride
            @inline(always) func convert(_ offset: Int, _ lanes: Int) {
                let halves = narrow(load(source + offset, lanes))
                let bits = UnsafeMutableRawPointer(target + offset).assumingMemoryBound(to: UInt16.self)
                Kernels.store(halves, bits, lanes)
                Kernels.store(wide(halves), source + offset, lanes)
            }
            forEachLanes(x.columns, convert)
        }
    }
}
