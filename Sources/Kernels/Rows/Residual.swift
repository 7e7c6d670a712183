/// The sum at the end of a residual branch.
public enum Residual {
    /// z = x + y; z may be x or y.
    public static func add(_ x: Matrix, _ y: Matrix, into z: Matrix, on team: ThreadTeam = .alone) {
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
