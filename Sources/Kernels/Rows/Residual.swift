/// The sum at the end of a residual branch.
public enum Residual {
    /// z = x + y; z may be x or y.
    public static func add(_ x: Matrix, _ y: Matrix, into z: Matrix, on team: ThreadTeam = .alone) {
        add(of: x, y, into: z, on: team)
    }

    /// The same, x and z of one format, rounded to it once.
    public static func add(
        _ x: StoredMatrix, _ y: Matrix, into z: StoredMatrix, on team: ThreadTeam = .alone
    ) {
        switch (x, z) {
        case (.full(let x), .full(let z)): add(of: x, y, into: z, on: team)
        case (.half(let x, .bf16), .half(let z, .bf16)):
            add(of: x.of(BF16.self), y, into: z.of(BF16.self), on: team)
        case (.half(let x, .fp16), .half(let z, .fp16)):
            add(of: x.of(FP16.self), y, into: z.of(FP16.self), on: team)
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
