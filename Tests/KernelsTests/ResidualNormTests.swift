import Kernels
import Testing

/// Norms that take the sum of a residual branch on their way give what the sum and the norm give, one after the other: to the
/// bit.
@Suite struct ResidualNormTests {
    /// Of the stream and of what comes out; fp32 where there is none.
    typealias Formats = (stream: HalfFormat?, output: HalfFormat?)
    private static let formats: [Formats] =
        [(nil, nil)] + HalfFormat.allCases.flatMap { [($0, $0), ($0, nil)] }
    private static let widths = [1, 15, 16, 33, 64, 83, 128]
    private let rows = 9

    /// Random numbers of `format`. The test lets them go with the process.
    private func stored(_ format: HalfFormat?, _ width: Int, seed: UInt64) -> StoredMatrix {
        let full = makeMatrix(rows, width, gap: 3, seed: seed)
        guard let format else { return .full(full) }
        let bits = MatrixView<UInt16>(
            base: .allocate(capacity: rows * full.stride), rows: rows, columns: width, stride: full.stride)
        format.narrow(full, into: bits)
        return .half(bits, format)
    }

    private func bits(_ x: StoredMatrix) -> [UInt32] {
        let full = x.read(makeVector(rows * x.columns))
        return (0..<rows).flatMap { row in
            (0..<x.columns).map { full.base[row * full.stride + $0].bitPattern }
        }
    }

    private typealias Norm = (
        _ x: StoredMatrix, _ terms: ResidualTerms?, _ y: StoredMatrix, _ statistics: [Vector]
    ) -> Void

    /// Into memory of its own, and in place of either term where their formats allow it.
    private func check(_ formats: Formats, _ width: Int, _ norm: Norm) {
        let (format, output) = formats
        let update = makeMatrix(rows, width, gap: 5, seed: 2)
        func run(
            _ x: StoredMatrix, _ terms: ResidualTerms?
        ) -> (sum: [UInt32], y: [UInt32], statistics: [[Double]]) {
            let y = stored(output, width, seed: 4)
            let statistics = (0..<2).map { _ in makeVector(rows, scale: 0) }
            norm(x, terms, y, statistics)
            return (bits(x), bits(y), statistics.map(doubles))
        }
        func x() -> StoredMatrix { stored(format, width, seed: 1) }
        let sum = stored(format, width, seed: 3)
        Residual.add(ResidualTerms(x(), update), into: sum)
        let expected = run(sum, nil)

        #expect(run(stored(format, width, seed: 5), ResidualTerms(x(), update)) == expected)
        let inPlace = x()
        #expect(run(inPlace, ResidualTerms(inPlace, update)) == expected)
        if format == nil {
            let inPlace = copy(update)
            #expect(run(.full(inPlace), ResidualTerms(x(), inPlace)) == expected)
        }
    }

    @Test(arguments: Self.formats, Self.widths)
    func `layer norm`(formats: Formats, width: Int) {
        let (weight, bias) = (makeVector(width, seed: 7), makeVector(width, seed: 8))
        for bias in [bias, nil] {
            check(formats, width) { x, terms, y, statistics in
                LayerNorm.forward(
                    x, sumOf: terms, weight: weight, bias: bias, epsilon: 1e-5, into: y, mean: statistics[0],
                    inverseDeviation: statistics[1])
            }
        }
    }

    @Test(arguments: Self.formats, Self.widths)
    func `root mean square`(formats: Formats, width: Int) {
        let weight = makeVector(width, seed: 7)
        check(formats, width) { x, terms, y, statistics in
            RMSNorm.forward(
                x, sumOf: terms, weight: weight, epsilon: 1e-5, into: y, inverseRoot: statistics[0])
        }
    }
}
