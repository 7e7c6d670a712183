import Configs
import Kernels

/// A kernel that goes over the rows of `[rows, columns]` tensors, and what it moves and computes for an element.
struct RowBenchmark {
    let name: String
    let rows: Int
    let columns: Int
    /// Tensors that it works on.
    let tensors: Int
    /// Bytes that it must read and write at least, for an element; rows stay in the core's cache between sweeps.
    let traffic: Traffic
    /// Floating-point operations for an element, a multiply-add counted as two, a division as one.
    let operations: Double
    /// Instructions for a vector, which has as many elements: a multiply-add counts as one, as a division does.
    let instructions: Double
    /// Where its operands are when training calls it.
    var places = Bandwidth.Place.allCases
    let run: (RowOperands) -> Void

    /// Of one `e^x` that is not above 88 (see `exponentialUpTo88`); of any, two more.
    private static let exponential = (operations: 22.0, instructions: 13.0)

    struct Traffic {
        var read = 0.0
        var written = 0.0
        /// Of what is written, what is not read: memory sends such lines before they are written to (McCalpin, STREAM).
        var fetched = 0.0

        var bytes: Double { read + written }
    }

    /// The row kernels of one micro-batch and update of `model`, as training calls them.
    static func all(of model: BenchmarkModel, instructions: TileInstructions) -> [RowBenchmark] {
        let (t, h, f, block) = (model.tokens, model.width, model.hidden, ModelConfig.attentionBlockRows)
        return stream(t, h) + hidden(t, f) + attention(block, model.context, width: h / model.heads)
            + head(min(t, ModelConfig.logitsBlockRows), model.vocabulary) + update(1 << 20)
            + (instructions > .emulated ? packing(t, h, instructions) : [])
    }

    private static func stream(_ rows: Int, _ columns: Int) -> [RowBenchmark] {
        [
            RowBenchmark(
                name: "layer norm forward", rows: rows, columns: columns, tensors: 2,
                traffic: Traffic(read: 4, written: 4, fetched: 4), operations: 8, instructions: 7
            ) {
                LayerNorm.forward(
                    $0[0], weight: $0.column(0), bias: $0.column(1), epsilon: 1e-5, into: $0[1],
                    mean: $0.row(0), inverseDeviation: $0.row(1))
            },
            RowBenchmark(
                name: "layer norm backward", rows: rows, columns: columns, tensors: 3,
                traffic: Traffic(read: 12, written: 4), operations: 19, instructions: 15
            ) {
                LayerNorm.backward(
                    $0[0], x: $0[1], weight: $0.column(0), mean: $0.row(0), inverseDeviation: $0.row(1),
                    addingTo: $0[2], dWeight: $0.column(1), dBias: $0.column(2))
            },
            RowBenchmark(
                name: "residual sum", rows: rows, columns: columns, tensors: 3,
                traffic: Traffic(read: 8, written: 4, fetched: 4), operations: 1, instructions: 1
            ) { Residual.add($0[0], $0[1], into: $0[2]) },
            RowBenchmark(
                name: "residual and norm", rows: rows, columns: columns, tensors: 4,
                traffic: Traffic(read: 8, written: 8, fetched: 8), operations: 9, instructions: 8
            ) {
                LayerNorm.forward(
                    .full($0[2]), sumOf: ResidualTerms(.full($0[0]), $0[1]), weight: $0.column(0),
                    bias: $0.column(1), epsilon: 1e-5, into: .full($0[3]), mean: $0.row(0),
                    inverseDeviation: $0.row(1))
            },
            RowBenchmark(
                name: "bias gradient", rows: rows, columns: columns, tensors: 1,
                traffic: Traffic(read: 4), operations: 1, instructions: 1
            ) { BiasGradient.accumulate($0[0], into: $0.column(0)) },
        ]
    }

    private static func hidden(_ rows: Int, _ columns: Int) -> [RowBenchmark] {
        [
            RowBenchmark(
                name: "GELU forward", rows: rows, columns: columns, tensors: 2,
                traffic: Traffic(read: 4, written: 4, fetched: 4), operations: exponential.operations + 9,
                instructions: exponential.instructions + 8
            ) { Activation.geluTanh.forward($0[0], into: $0[1]) },
            RowBenchmark(
                name: "GELU backward", rows: rows, columns: columns, tensors: 3,
                traffic: Traffic(read: 8, written: 8, fetched: 4), operations: exponential.operations + 16,
                instructions: exponential.instructions + 13
            ) { Activation.geluTanh.backward($0[0], x: $0[1], into: $0[0], output: $0[2]) },
        ]
    }

    /// Blocks of scores, half of which are masked on average of a whole head: here the last block, of which most count.
    private static func attention(_ rows: Int, _ keys: Int, width: Int) -> [RowBenchmark] {
        let rows = min(rows, keys)
        return [
            RowBenchmark(
                name: "softmax forward", rows: rows, columns: keys, tensors: 1,
                traffic: Traffic(read: 4, written: 4), operations: exponential.operations + 4,
                instructions: exponential.instructions + 4, places: [.cache]
            ) { Softmax.forward($0[0], visible: .past, logSumExp: $0.row(0)) },
            RowBenchmark(
                name: "softmax again", rows: rows, columns: keys, tensors: 1,
                traffic: Traffic(read: 4, written: 4), operations: exponential.operations + 1,
                instructions: exponential.instructions + 1, places: [.cache]
            ) { Softmax.probabilities($0[0], visible: .past, logSumExp: $0.row(0)) },
            RowBenchmark(
                name: "softmax backward", rows: rows, columns: keys, tensors: 2,
                traffic: Traffic(read: 8, written: 4), operations: 3, instructions: 3, places: [.cache]
            ) {
                Softmax.backward($0[0], visible: .past, probabilities: $0[1], delta: $0.row(0), scale: 0.125)
            },
            RowBenchmark(
                name: "row products", rows: rows, columns: width, tensors: 2,
                traffic: Traffic(read: 8), operations: 2, instructions: 2, places: [.cache]
            ) { Softmax.rowDots($0[0], $0[1], into: $0.row(0)) },
        ]
    }

    private static func head(_ rows: Int, _ vocabulary: Int) -> [RowBenchmark] {
        [
            RowBenchmark(
                name: "loss and gradient", rows: rows, columns: vocabulary, tensors: 1,
                traffic: Traffic(read: 4, written: 4), operations: exponential.operations + 4,
                instructions: exponential.instructions + 4
            ) { operands in
                let sum = CrossEntropy.forwardBackward(
                    operands[0], into: .full(operands[0]), targets: operands.targets)
                precondition(sum.tokens == operands[0].rows)
            }
        ]
    }

    private static func update(_ count: Int) -> [RowBenchmark] {
        [
            RowBenchmark(
                name: "gradients to zero", rows: 1, columns: count, tensors: 1,
                traffic: Traffic(written: 4, fetched: 4), operations: 0, instructions: 0
            ) {
                Reductions.fill($0[0].vector, with: 0)
            },
            // In double precision, of which a vector holds half as many.
            RowBenchmark(
                name: "gradient norm", rows: 1, columns: count, tensors: 1,
                traffic: Traffic(read: 4), operations: 4, instructions: 4
            ) { precondition(!(Reductions.sumOfSquares($0[0].vector) < 0)) },
            RowBenchmark(
                name: "AdamW", rows: 1, columns: count, tensors: 4,
                traffic: Traffic(read: 16, written: 12), operations: 18, instructions: 12
            ) {
                let moments = Matrix(
                    base: $0[2].base, rows: 2, columns: $0[2].columns, stride: $0[3].base - $0[2].base)
                AdamW().update(
                    parameters: $0[0].vector, gradients: $0[1].vector, state: moments, step: 10,
                    learningRate: 1e-3, weightDecay: 0.1, gradientScale: 1)
            },
        ]
    }

    /// Activations on their way into a product, where neighbours in depth are neighbours in memory and where they are
    /// not: two bytes are written for four.
    private static func packing(
        _ rows: Int, _ columns: Int, _ instructions: TileInstructions
    ) -> [RowBenchmark] {
        func pack(_ name: String, _ side: PackedOperand.Side) -> RowBenchmark {
            RowBenchmark(
                name: name, rows: rows, columns: columns, tensors: 1,
                traffic: Traffic(read: 4, written: 2, fetched: 2), operations: 1, instructions: 1
            ) {
                let source = $0[0]
                let (extent, depth) =
                    side == .a ? (source.rows, source.columns) : (source.columns, source.rows)
                PackedOperand(side, rows: extent, depth: depth, precision: .medium, in: $0.packed)
                    .pack(source, transposed: false, with: instructions)
            }
        }
        return [pack("packing as A", .a), pack("packing as B", .b)]
    }
}
