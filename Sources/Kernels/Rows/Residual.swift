import CTiles

/// The sum at the end of a residual branch.
public enum Residual {
    /// z = x + y; z may be x or y.
    public static func add(_ x: Matrix, _ y: Matrix, into z: Matrix, on team: ThreadTeam = .alone) {
        add(of: x, y, into: z, on: team)
    }

    /// z = the sum of `terms`, rounded once as z is kept; z may be one of them.
    public static func add(_ terms: ResidualTerms, into z: StoredMatrix, on team: ThreadTeam = .alone) {
        switch (terms.x, z) {
        case (.full(let x), .full(let z)): add(of: x, terms.update, into: z, on: team)
        case (.half(let x, .bf16), .half(let z, .bf16)):
            add(of: x.of(BF16.self), terms.update, into: z.of(BF16.self), on: team)
        case (.half(let x, .fp16), .half(let z, .fp16)):
            add(of: x.of(FP16.self), terms.update, into: z.of(FP16.self), on: team)
        default: preconditionFailure("an input and a sum of different formats")
        }
    }

    private static func add<Number: LaneNumber>(
        of x: MatrixView<Number>, _ y: Matrix, into z: MatrixView<Number>, on team: ThreadTeam
    ) {
        precondition(
            x.hasShape(of: y) && x.hasShape(of: z), "\(x.shape) and \(y.shape) elements do not fit \(z.shape)"
        )
        team.split(x.rows, (x, y, z)) { operands, rows, _ in
            let (x, y, z) = operands
            @inline(always) func sum(_ x: Lanes, _ y: Lanes) -> Lanes { x + y }
            mapElements(x.rows(rows), y.rows(rows), into: z.rows(rows), sum)
        }
    }
}

/// The terms x + update of a sum at the end of a residual branch, which a norm takes as it reads it, in one pass over memory.
public struct ResidualTerms {
    let x: StoredMatrix
    let update: Matrix

    /// `[t, h]` both; `x` is kept as the sum will be.
    public init(_ x: StoredMatrix, _ update: Matrix) {
        (self.x, self.update) = (x, update)
    }

    /// The terms of a sum in fp32.
    func full(of sum: Matrix) -> LaneTerms<Float> {
        guard case .full(let x) = x else { preconditionFailure("terms of another format than their sum") }
        return LaneTerms(x, update, of: sum)
    }

    /// The terms of a sum in `format`, whose numbers are those of `sum`.
    func half<Number: HalfNumber>(_ format: HalfFormat, of sum: MatrixView<Number>) -> LaneTerms<Number> {
        guard case .half(let x, format) = x else {
            preconditionFailure("terms of another format than their sum")
        }
        return LaneTerms(x.of(Number.self), update, of: sum)
    }
}

/// The same of numbers that a row kernel reads.
struct LaneTerms<Number: LaneNumber> {
    private let x: MatrixView<Number>
    private let update: Matrix

    init(_ x: MatrixView<Number>, _ update: Matrix, of sum: MatrixView<Number>) {
        precondition(
            x.hasShape(of: sum) && update.hasShape(of: sum),
            "\(x.shape) and \(update.shape) elements do not fit \(sum.shape)")
        (self.x, self.update) = (x, update)
    }

    private init(_ x: MatrixView<Number>, _ update: Matrix) {
        (self.x, self.update) = (x, update)
    }

    func rows(_ range: Range<Int>) -> LaneTerms { LaneTerms(x.rows(range), update.rows(range)) }

    /// Asks for a part of row `row`, which need not be there.
    @inline(always)
    func prefetch(row: Int, _ offset: Int) {
        lockstep_prefetch(x.base + (row &* x.stride &+ offset))
        lockstep_prefetch(update.base + (row &* update.stride &+ offset))
    }

    /// Writes a part of the sum's row `row` to `address`, and gives it as it is there.
    @inline(always)
    func add(row: Int, _ offset: Int, _ lanes: Int, into address: UnsafeMutablePointer<Number>) -> Lanes {
        let first = Number.lanes(x.base + (row &* x.stride &+ offset), lanes)
        let second = load(update.base + (row &* update.stride &+ offset), lanes)
        Number.store(first + second, address, lanes)
        return Number.lanes(address, lanes)
    }
}
