import Kernels
import Testing

@Suite struct CrossEntropyTests {
    private func makeTargets(_ rows: Int, _ columns: Int) -> [Int32] {
        (0..<rows).map { $0 % 3 == 1 ? CrossEntropy.ignoredTarget : Int32(($0 * 7 + columns - 1) % columns) }
    }

    @Test(arguments: oddShapes + [(3, 5003)], [0, 5])
    func `equals its oracle`(shape: (Int, Int), gap: Int) {
        let (rows, columns) = shape
        let logits = makeMatrix(rows, columns, gap: gap, scale: 8)
        let targets = makeTargets(rows, columns)
        let reference = ReferenceMatrix(logits)
        let loss = Reference.crossEntropy(reference, targets: targets)
        let tokens = targets.count { $0 != CrossEntropy.ignoredTarget }

        let evaluated = CrossEntropy.forward(logits, targets: targets)
        #expect(evaluated.tokens == tokens)
        #expect((evaluated.loss - loss).magnitude <= 1e-6 * max(loss, 1))
        #expect(ReferenceMatrix(logits) == reference, "evaluation leaves the logits alone")

        let trained = CrossEntropy.forwardBackward(logits, into: .full(logits), targets: targets)
        #expect(trained == evaluated)
        let gradient = Reference.crossEntropyBackward(reference, targets: targets)
        #expect(columns == 1 || relativeError(logits, gradient) < 1e-6)
        for row in 0..<rows where targets[row] == CrossEntropy.ignoredTarget {
            #expect((0..<columns).allSatisfy { logits.base[row * logits.stride + $0] == 0 })
        }
    }

    @Test(arguments: oddShapes + [(3, 5003)], [0, 5])
    func `predictions are the first of the largest logits`(shape: (Int, Int), gap: Int) {
        let (rows, columns) = shape
        let logits = makeMatrix(rows, columns, gap: gap, scale: 8)
        // Equal ones in every row.
        for row in 0..<rows {
            let values = logits.base + row * logits.stride
            values[columns - 1] = 9
            values[columns / 2] = 9
        }
        let targets = makeTargets(rows, columns)
        var predictions = [Int32](repeating: -7, count: rows)
        let sum = CrossEntropy.forward(logits, targets: targets, predictions: &predictions)
        #expect(sum == CrossEntropy.forward(logits, targets: targets))
        let expected = targets.map { $0 == CrossEntropy.ignoredTarget ? -7 : Int32(columns / 2) }
        #expect(predictions == expected)
    }

    @Test(arguments: oddShapes + [(3, 5003)], [0.1, 0.75])
    func `label smoothing equals its oracle`(shape: (Int, Int), smoothing: Double) {
        let (rows, columns) = shape
        let logits = makeMatrix(rows, columns, gap: 3, scale: 8)
        let targets = makeTargets(rows, columns)
        let reference = ReferenceMatrix(logits)
        let loss = Reference.crossEntropy(reference, targets: targets, labelSmoothing: smoothing)
        let sum = CrossEntropy.forwardBackward(
            logits, into: .full(logits), targets: targets, labelSmoothing: smoothing)
        #expect(sum.tokens == targets.count { $0 != CrossEntropy.ignoredTarget })
        #expect((sum.loss - loss).magnitude <= 1e-6 * max(loss, 1))
        let gradient = Reference.crossEntropyBackward(reference, targets: targets, labelSmoothing: smoothing)
        #expect(columns == 1 || relativeError(logits, gradient) < 1e-6)
    }

    @Test(arguments: oddShapes + [(3, 5003)], [(0, 0.0), (3, 0.1)])
    func `a gradient of 16 bits is that in fp32, rounded`(
        shape: (Int, Int), variant: (gap: Int, smoothing: Double)
    ) {
        let (rows, columns) = shape
        let targets = makeTargets(rows, columns)
        for format in HalfFormat.allCases {
            let (logits, copy) = (
                makeMatrix(rows, columns, gap: variant.gap, scale: 8),
                makeMatrix(rows, columns, gap: variant.gap, scale: 8)
            )
            let sum = CrossEntropy.forwardBackward(
                logits, into: .full(logits), targets: targets, labelSmoothing: variant.smoothing,
                gradientScale: 0.25)
            let sumOfHalves = CrossEntropy.forwardBackward(
                copy, into: .half(copy.firstHalves, format), targets: targets,
                labelSmoothing: variant.smoothing, gradientScale: 0.25)
            #expect(sum == sumOfHalves)
            let rounded = makeMatrix(rows, 2 * columns)
            format.narrow(logits, into: rounded.firstHalves.columns(0..<columns))
            for row in 0..<rows {
                for column in 0..<columns {
                    let gradient = copy.firstHalves.base[row * copy.firstHalves.stride + column]
                    #expect(gradient == rounded.firstHalves.base[row * rounded.firstHalves.stride + column])
                }
            }
        }
    }

    @Test func `ignored rows cost nothing even when they are not finite`() {
        let logits = makeMatrix(2, 17)
        logits.base[3] = .nan
        let sum = CrossEntropy.forwardBackward(
            logits, into: .full(logits), targets: [CrossEntropy.ignoredTarget, 5])
        #expect(sum.loss.isFinite && sum.tokens == 1)
        #expect((0..<17).allSatisfy { logits.base[$0] == 0 })
    }

    @Test(arguments: [Float.nan, .infinity])
    func `a logit that is not finite makes the loss so`(value: Float) {
        let logits = makeMatrix(1, 33)
        logits.base[20] = value
        #expect(!CrossEntropy.forward(logits, targets: [5]).loss.isFinite)
    }

    @Test func `sums add up`() {
        var sum = CrossEntropy.Sum(loss: 1, tokens: 2)
        sum += CrossEntropy.Sum(loss: 0.5, tokens: 3)
        #expect(sum == CrossEntropy.Sum(loss: 1.5, tokens: 5))
    }

    @Test(arguments: [(1, 2), (3, 17), (5, 63)], [0, 0.2])
    func `oracle's gradient is that of its forward pass`(shape: (Int, Int), smoothing: Double) {
        let (rows, columns) = shape
        let logits = ReferenceMatrix(makeMatrix(rows, columns, scale: 3))
        let targets = makeTargets(rows, columns)
        let differences = centralDifferences(logits.values) {
            Reference.crossEntropy(logits.with($0), targets: targets, labelSmoothing: smoothing)
        }
        let gradient = Reference.crossEntropyBackward(logits, targets: targets, labelSmoothing: smoothing)
        #expect(relativeError(gradient.values, differences) < 1e-6)
    }
}
