/// A non-owning view of `count` contiguous elements.
public struct VectorView<Element: BitwiseCopyable> {
    public let base: UnsafeMutablePointer<Element>
    public let count: Int

    public init(base: UnsafeMutablePointer<Element>, count: Int) {
        self.base = base
        self.count = count
    }

    public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count, "index \(index) outside of \(count) elements")
            return base[index]
        }
        nonmutating set {
            precondition(index >= 0 && index < count, "index \(index) outside of \(count) elements")
            base[index] = newValue
        }
    }

    /// The elements of `range`.
    public func slice(_ range: Range<Int>) -> VectorView {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= count, "\(range) outside of \(count) elements")
        return VectorView(base: base + range.lowerBound, count: range.count)
    }

    /// The elements as a row-major matrix; `rows · columns` must equal `count`.
    public func matrix(rows: Int, columns: Int) -> MatrixView<Element> {
        precondition(rows * columns == count, "\(count) elements are no \(rows) × \(columns) matrix")
        return MatrixView(base: base, rows: rows, columns: columns)
    }
}

/// A non-owning view of a row-major matrix whose rows lie `stride` elements apart.
public struct MatrixView<Element: BitwiseCopyable> {
    public let base: UnsafeMutablePointer<Element>
    public let rows: Int
    public let columns: Int
    /// Distance between the starts of two rows, in elements; at least `columns`.
    public let stride: Int

    public init(base: UnsafeMutablePointer<Element>, rows: Int, columns: Int, stride: Int? = nil) {
        self.base = base
        self.rows = rows
        self.columns = columns
        self.stride = stride ?? columns
        precondition(self.stride >= columns, "rows \(self.stride) apart cannot hold \(columns) columns")
    }

    /// Rows follow one another without gaps.
    public var isContiguous: Bool { stride == columns }

    /// Rows `range`, all columns.
    public func rows(_ range: Range<Int>) -> MatrixView {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "\(range) outside of \(rows) rows")
        return MatrixView(
            base: base + range.lowerBound * stride, rows: range.count, columns: columns, stride: stride)
    }

    /// Columns `range` of every row.
    public func columns(_ range: Range<Int>) -> MatrixView {
        precondition(
            range.lowerBound >= 0 && range.upperBound <= columns, "\(range) outside of \(columns) columns")
        return MatrixView(base: base + range.lowerBound, rows: rows, columns: range.count, stride: stride)
    }

    /// All elements of a contiguous matrix.
    public var vector: VectorView<Element> {
        precondition(isContiguous, "a matrix with gaps between its rows is no vector")
        return VectorView(base: base, count: rows * columns)
    }
}

/// Row-major fp32 matrix view.
public typealias Matrix = MatrixView<Float>
/// Contiguous fp32 view.
public typealias Vector = VectorView<Float>
