/// The sum at the end of a residual branch.
public enum Residual {
    /// z = x + y; z may be x or y.
    public static func add(_ x: Matrix, _ y: Matrix, into z: Matrix) {
        @inline(always) func sum(_ x: Lanes, _ y: Lanes) -> Lanes { x + y }
        mapElements(x, y, into: z, sum)
    }
}
