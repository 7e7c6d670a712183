import Configs
import Kernels

/// Logits over the vocabulary and their cross-entropy, a block of rows at a time, so that the logits of a micro-batch are
/// never stored whole. The weight `[V, h]` is the token embedding's when tied; behind a transform there is a bias `[V]`.
///
/// Keeps nothing: in training the block's loss, gradient and products follow its logits at once.
/// FLOPs: 2·t·h·V forward, twice that backward.
struct LanguageModelHead {
    private let weight: WeightSlot
    private let bias: Slot?
    /// `[min(t, ModelConfig.logitsBlockRows), V]`.
    private let logits: Slot
    /// What they are made of in fp32, `[min(t, ModelConfig.logitsBlockRows), h]`, where it is kept in 16 bits.
    private let input: Slot?

    init(tiedTo embedding: Slot?, plan: inout ModelPlan) {
        let model = plan.model
        let matrix =
            embedding
            ?? plan.parameters.add(
                "head.weight", .matrix, shape: [model.vocabSize, model.dModel],
                initialization: .normal(standardDeviation: 0.02))
        bias =
            model.headTransform && model.biases
            ? plan.parameters.add("head.bias", .bias, shape: [model.vocabSize], initialization: .zeros) : nil
        let rows = min(plan.tokens, ModelConfig.logitsBlockRows)
        weight = plan.addWeight(matrix, rows: rows)
        let isHalf = plan.format != nil
        (logits, input) = plan.workspace.scope { workspace in
            (
                workspace.reserve("head.logits", rows: rows, columns: model.vocabSize),
                isHalf ? workspace.reserve("head.input", rows: rows, columns: model.dModel) : nil
            )
        }
    }

    /// Sum of the losses of the batch's targets, given `x` `[t, h]`; `predictions` `[t]` get the most likely tokens.
    func loss(
        _ pass: Pass, _ x: StoredMatrix, predictions: UnsafeMutablePointer<Int32>?
    ) -> CrossEntropy.Sum {
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        forEachBlock(pass) { rows, targets in
            sum += CrossEntropy.forward(
                logits(pass, x.rows(rows)), targets: targets,
                predictions: predictions.map { $0 + rows.lowerBound }, on: pass.team)
        }
        return sum
    }

    /// The same with label smoothing, and the gradient of the sum times `scale`: gives the weight's, writes `dx` `[t, h]`.
    func lossAndGradient(
        _ pass: Pass, _ x: StoredMatrix, labelSmoothing: Double, scale: Float, into dx: Matrix
    ) -> CrossEntropy.Sum {
        var sum = CrossEntropy.Sum(loss: 0, tokens: 0)
        forEachBlock(pass) { rows, targets in
            let x = operand(pass, x.rows(rows))
            let block = logits(pass, x)
            let gradient = gradient(pass, of: block)
            sum += CrossEntropy.forwardBackward(
                block, into: gradient, targets: targets, labelSmoothing: labelSmoothing,
                gradientScale: scale, on: pass.team)
            pass.matmul.weightGradient(
                gradient, x, accumulate: pass.accumulates || rows.lowerBound > 0,
                into: pass.gradient(weight.slot))
            if let bias { BiasGradient.accumulate(gradient, into: pass.gradient(bias), on: pass.team) }
            pass.matmul.inputGradient(
                gradient, weight: pass.weight(weight), into: .full(dx.rows(rows)))
        }
        return sum
    }

    /// Where the gradient of a block of logits is kept: as products round it where they take it so, else in fp32.
    private func gradient(_ pass: Pass, of logits: Matrix) -> StoredMatrix {
        pass.matmul.takes(.bf16, rows: logits.rows, weight: pass.weight(weight))
            ? .half(logits.firstHalves, .bf16) : .full(logits)
    }

    /// Logits `[rows, V]` of `x` `[rows, h]`, in workspace: valid until the next pass. At most one block of rows.
    func logits(_ pass: Pass, _ x: StoredMatrix) -> Matrix {
        let block = pass.scratch(logits).rows(0..<x.rows)
        pass.matmul.forward(
            operand(pass, x), weight: pass.weight(weight), bias: bias.map { pass.parameter($0) },
            into: .full(block))
        return block
    }

    private func operand(_ pass: Pass, _ x: StoredMatrix) -> StoredMatrix {
        func block() -> Vector {
            guard let input else { preconditionFailure("activations are in fp32") }
            return pass.scratch(input).vector
        }
        return pass.operand(x, for: weight, block: block())
    }

    private func forEachBlock(_ pass: Pass, _ body: (Range<Int>, UnsafePointer<Int32>) -> Void) {
        guard let targets = pass.batch.targets else { preconditionFailure("a loss needs targets") }
        var first = 0
        while first < pass.tokens {
            let end = min(first + logits.rows, pass.tokens)
            body(first..<end, targets + first)
            first = end
        }
    }
}
