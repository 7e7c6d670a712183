/// The sum at the end of a residual branch.
public enum Residual {
    /// z = x + y; z may be x or y.
    public static func add(_ x: Matrix, _ y: Matrix, into z: Matrix) {
        mapElements(x, y, into: z) { $0 + $1 }
    }
}
