#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

extension Reference {
    /// y[i] = scale·tokenWeight[tokens[i]] + positionWeight[i mod s], s tokens to a sequence.
    public static func embedding(
        tokens: [Int32], sequences: Int, tokenWeight: ReferenceMatrix, scale: Double = 1,
        positionWeight: ReferenceMatrix?
    ) -> ReferenceMatrix {
        var y = ReferenceMatrix(rows: tokens.count, columns: tokenWeight.columns)
        for row in 0..<y.rows {
            for column in 0..<y.columns {
                y[row, column] =
                    scale * tokenWeight[Int(tokens[row]), column]
                    + (positionWeight?[row % (y.rows / sequences), column] ?? 0)
            }
        }
        return y
    }

    /// Gradients of both weights of `embedding`.
    public static func embeddingBackward(
        _ dy: ReferenceMatrix, tokens: [Int32], sequences: Int, scale: Double = 1, vocabulary: Int,
        positions: Int
    ) -> (dTokenWeight: ReferenceMatrix, dPositionWeight: ReferenceMatrix) {
        var dToken = ReferenceMatrix(rows: vocabulary, columns: dy.columns)
        var dPosition = ReferenceMatrix(rows: positions, columns: dy.columns)
        for row in 0..<dy.rows {
            for column in 0..<dy.columns {
                dToken[Int(tokens[row]), column] += scale * dy[row, column]
                dPosition[row % (dy.rows / sequences), column] += dy[row, column]
            }
        }
        return (dToken, dPosition)
    }

    /// Whether dropout drops the element with this global number: of 32 elements in a row, number 16w + l looks at
    /// word w of the block whose counter is 16·(element / 32) + l.
    public static func isDropped(element: UInt64, rate: Float, key: DropoutKey) -> Bool {
        let counter = element / 32 * 16 + element % 16
        let words = key.generator.block(
            counter: (UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32)))
        let word = element % 32 < 16 ? words.0 : words.1
        return word < UInt32(Double(rate) * 0x1p32)
    }

    /// Element `element` of `RandomNormal.fill` with standard deviation 1.
    public static func normal(element: UInt64, seed: UInt64, stream: Int) -> Double {
        let counter = element / 32 * 16 + element % 16
        let words = RandomNormal.generator(seed: seed, stream: stream).block(
            counter: (UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32)))
        let radius = (-2 * log(1 - Double(words.0 >> 9) * 0x1p-23)).squareRoot()
        let angle = (Double(words.1 & 0x007f_ffff) * 0x1p-23 - 0.5) * .pi / 2
        let isSecond = element % 32 >= 16
        let isSwapped = words.1 & 0x4000_0000 == 0
        let sign: Double = words.1 & 0x8000_0000 == 0 ? 1 : -1
        return sign * radius * (isSecond == isSwapped ? cos(angle) : sin(angle))
    }
}
