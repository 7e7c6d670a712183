import Kernels
import Testing

@Suite struct DropoutTests {
    private func ones(_ rows: Int, _ columns: Int, gap: Int = 0) -> Matrix {
        let x = makeMatrix(rows, columns, gap: gap)
        for row in 0..<rows {
            for column in 0..<columns { x.base[row * x.stride + column] = 1 }
        }
        return x
    }

    @Test(
        arguments: oddShapes,
        [0, 5, 32, 0xffff_fff9, 0x1_ffff_ffe0, 0x1_ffff_fff3, 0xabcd_ffff_ffff_ffff] as [UInt64])
    func `equals its oracle wherever it starts`(shape: (Int, Int), firstElement: UInt64) {
        let (rows, columns) = shape
        let key = DropoutKey(seed: 0x9_8765_4321, step: 12, site: 3)
        for gap in [0, 5] {
            let x = makeMatrix(rows, columns, gap: gap)
            let y = makeMatrix(rows, columns, gap: gap, seed: 2)
            var expected = ReferenceMatrix(x)
            for index in expected.values.indices {
                let dropped = Reference.isDropped(element: firstElement + UInt64(index), rate: 0.3, key: key)
                expected.values[index] = dropped ? 0 : expected.values[index] / (1 - Double(Float(0.3)))
            }
            Dropout.apply(x, rate: 0.3, key: key, firstElement: firstElement, into: y)
            #expect(relativeError(y, expected) < 1e-6)
            Dropout.apply(x, rate: 0.3, key: key, firstElement: firstElement, into: x)
            #expect(ReferenceMatrix(x) == ReferenceMatrix(y))
        }
    }

    @Test func `the mask does not depend on how the batch is split`() {
        let (rows, columns) = (24, 50)
        let key = DropoutKey(seed: 1, step: 2, site: 3)
        let whole = ones(rows, columns)
        Dropout.apply(whole, rate: 0.5, key: key, firstElement: 0, into: whole)
        for ranks in [2, 3, 4] {
            let split = ones(rows, columns)
            for rank in 0..<ranks {
                let share = split.rows((rank * rows / ranks)..<((rank + 1) * rows / ranks))
                let first = UInt64(rank * rows / ranks * columns)
                Dropout.apply(share, rate: 0.5, key: key, firstElement: first, into: share)
            }
            #expect(ReferenceMatrix(split) == ReferenceMatrix(whole))
        }
    }

    @Test func `the first columns of longer rows have the mask of those rows`() {
        let key = DropoutKey(seed: 1, step: 2, site: 3)
        for (rows, columns, kept) in [(9, 96, 64), (7, 50, 33), (3, 20, 1)] {
            let (whole, part) = (ones(rows, columns), ones(rows, kept, gap: 3))
            Dropout.apply(whole, rate: 0.5, key: key, firstElement: 7, into: whole)
            Dropout.apply(part, rate: 0.5, key: key, firstElement: 7, rowLength: columns, into: part)
            #expect(ReferenceMatrix(part) == ReferenceMatrix(whole.columns(0..<kept)))
        }
    }

    @Test(arguments: [0, 0.1, 0.5, 0.9] as [Float])
    func `keeps the right share`(rate: Float) {
        let count = 1 << 20
        let x = ones(1, count)
        Dropout.apply(x, rate: rate, key: DropoutKey(seed: 1, step: 0, site: 0), firstElement: 0, into: x)
        let kept = Double((0..<count).count { x.base[$0] != 0 }) / Double(count)
        let deviation = (Double(rate) * Double(1 - rate) / Double(count)).squareRoot()
        #expect((kept - Double(1 - rate)).magnitude <= 5 * deviation)
        #expect((0..<count).allSatisfy { x.base[$0] == 0 || x.base[$0] == 1 / (1 - rate) })
    }

    @Test func `steps, sites and seeds have masks of their own`() {
        let keys = [
            DropoutKey(seed: 1, step: 0, site: 0), DropoutKey(seed: 1, step: 1, site: 0),
            DropoutKey(seed: 1, step: 0, site: 1), DropoutKey(seed: 2, step: 0, site: 0),
        ]
        let count = 1 << 16
        let masks = keys.map { key in
            let x = ones(1, count)
            Dropout.apply(x, rate: 0.5, key: key, firstElement: 0, into: x)
            return (0..<count).map { x.base[$0] != 0 }
        }
        for first in 0..<masks.count {
            for second in 0..<first {
                let agreement = zip(masks[first], masks[second]).count { $0 == $1 }
                #expect((Double(agreement) / Double(count) - 0.5).magnitude < 0.01)
            }
        }
    }

    @Test func `a dropped element is zero whatever it was`() {
        let key = DropoutKey(seed: 1, step: 0, site: 0)
        let x = ones(1, 64)
        Reductions.fill(x.vector, with: .nan)
        Dropout.apply(x, rate: 0.5, key: key, firstElement: 0, into: x)
        for index in 0..<64 {
            let dropped = Reference.isDropped(element: UInt64(index), rate: 0.5, key: key)
            #expect(dropped ? x.base[index] == 0 : x.base[index].isNaN)
        }
    }
}
