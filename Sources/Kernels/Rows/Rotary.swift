#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Rotary position embedding (Su et al. 2021) in the half-split convention of Llama: of a head of width d, elements i and
/// i + d/2 are turned together by the angle position · base^(-2i/d).
public enum Rotary {
    /// Cosines (columns 0 ..< d/2) and sines (d/2 ..< d) of the angles of positions 0, 1, … `[positions, d]`, d even.
    public static func fill(_ table: Matrix, base: Double) {
        let half = halfWidth(table.columns)
        for position in 0..<table.rows {
            for index in 0..<half {
                let angle = Double(position) * pow(base, -Double(2 * index) / Double(table.columns))
                table.base[position &* table.stride &+ index] = Float(cos(angle))
                table.base[position &* table.stride &+ half &+ index] = Float(sin(angle))
            }
        }
    }

    /// In place on the heads `[b·s, n·d]` of sequences of s = `length` tokens: turned by their positions' angles, or back
    /// if `inverse`, which is the gradient of the turn. `table` `[≥ s, d]` as `fill` writes it. Of a part of the rows,
    /// `firstRow` is the number of the first.
    public static func rotate(
        _ x: Matrix, firstRow: Int = 0, table: Matrix, length: Int, inverse: Bool,
        on team: ThreadTeam = .alone
    ) {
        let width = table.columns
        precondition(
            width > 0 && x.columns % width == 0, "\(x.columns) columns are no heads of width \(width)")
        precondition(
            length > 0 && length <= table.rows, "sequences of \(length) tokens, but \(table.rows) positions")
        team.split(x.rows, (x, firstRow, table, length, inverse)) { operands, rows, _ in
            let (x, firstRow, table, length, inverse) = operands
            rotate(rows: rows, of: x, firstRow, table, length, inverse ? -1 : 1)
        }
    }

    private static func rotate(
        rows: Range<Int>, of x: Matrix, _ firstRow: Int, _ table: Matrix, _ length: Int, _ sign: Float
    ) {
        let half = halfWidth(table.columns)
        let heads = x.columns / table.columns
        for row in rows {
            let cosines = table.base + ((firstRow &+ row) % length) &* table.stride
            let sines = cosines + half
            for head in 0..<heads {
                let first = x.base + (row &* x.stride &+ 2 &* half &* head)
                let second = first + half
                @inline(always) func turn(_ offset: Int, _ lanes: Int) {
                    let (a, b) = (load(first + offset, lanes), load(second + offset, lanes))
                    let cosine = load(cosines + offset, lanes)
                    let sine = load(sines + offset, lanes) * sign
                    store(a * cosine - b * sine, first + offset, lanes)
                    store(b * cosine + a * sine, second + offset, lanes)
                }
                forEachLanes(half, turn)
            }
        }
    }

    private static func halfWidth(_ width: Int) -> Int {
        precondition(width % 2 == 0, "a head of width \(width) has no halves")
        return width / 2
    }
}
