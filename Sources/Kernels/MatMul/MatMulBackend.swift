/// Something that multiplies fp32 matrices.
public protocol MatMulBackend {
    /// For logs and reports.
    var name: String { get }

    /// How many products of [m,k] by [k,n] it executes for one.
    func executedProducts(m: Int, n: Int, k: Int) -> Int

    /// The same for member `member` of `count` that multiply side by side, each in a part of the memory that this one works
    /// in.
    func share(of member: Int, among count: Int) -> Self

    /// C[m,n] = alpha·op(A)·op(B) + beta·C, where op transposes when asked; row strides are honoured. With beta 0
    /// the old content of C, NaN included, does not matter. C overlaps neither A nor B.
    func multiply(
        _ a: Matrix, transposed transposeA: Bool, _ b: Matrix, transposed transposeB: Bool,
        alpha: Float, beta: Float, into c: Matrix)
}

extension MatMulBackend {
    public func executedProducts(m: Int, n: Int, k: Int) -> Int { 1 }
    public func share(of member: Int, among count: Int) -> Self { self }
}
