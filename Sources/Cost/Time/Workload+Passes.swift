import Configs

/// What a forward and backward pass of a micro-batch consists of.
extension Workload {
    static func forward(_ z: Sizes) -> Work {
        var work = Work()
        for stack in z.stacks { addForward(of: stack, z, to: &work) }
        if z.hasTransform {
            work.addLinearForward(z, z.h, z.h, rows: z.t, into: .kept)
            work.add(z.ungated.forward, z.t, z.h)
            work.addNormForward(z, rows: z.t)
        }
        return work
    }

    private static func addForward(of stack: StackSizes, _ z: Sizes, to work: inout Work) {
        let (l, t) = (stack.layers, stack.t)
        work.add(.embeddingForward, t, z.h)
        if z.hasTypes { work.add(.residualAdd, t, z.h) }
        if z.hasEmbeddingNorm { work.addNormForward(z, rows: t) }
        if z.drops { work.add(.dropout, t, z.h) }
        work.round(z, t, z.h)
        func linear(
            _ inputs: Int, _ outputs: Int, rows: Int, into output: Tensor = .full, changes: Bool = false
        ) {
            work.addLinearForward(
                z, inputs, outputs, rows: rows, into: output, changes: changes, count: l)
        }
        func heads(_ blocks: [(rows: Int, keys: Int)], keys: Int) {
            let count = l * z.b * z.a
            let takesKept = z.takesKept(blocks)
            if !takesKept { work.addHeadReading(z, queries: stack.s, keys: keys, count: count) }
            // Keys as they meet queries, values as they meet probabilities.
            work.packHead(z, queries: stack.s, keys: keys, count: 2 * count)
            for (rows, keys) in blocks {
                work.add(Product(.forward, m: rows, n: keys, k: z.d), count: count, place: .head)
                work.add(.softmaxForward, rows, keys, count: count, place: .head)
                if !z.recomputes {
                    work.round(z, rows, keys, count: count, place: .head)
                    work.keep(elements: z.keptElements(rows, keys, count: count))
                }
                if z.drops { work.add(.dropout, rows, keys, count: count, place: .head) }
                work.add(Product(.inputGradient, m: rows, n: z.d, k: keys), count: count, place: .head)
                if !takesKept || !z.gives(depth: keys) {
                    work.round(z, rows, z.d, count: count, place: .head)
                }
            }
        }
        let branches = stack.attentions + 1
        work.addNorms(z, rows: t, branches: branches * l)
        linear(z.h, z.h + 2 * z.kv, rows: t, into: .kept, changes: z.isRotary)
        if z.isRotary { work.add(.rotary, t, z.h + z.kv, count: l) }
        heads(stack.attentionBlocks, keys: stack.s)
        linear(z.h, z.h, rows: t)
        if let source = stack.source {
            linear(z.h, z.h, rows: t, into: .kept)
            linear(z.h, 2 * z.kv, rows: source.t, into: .kept)
            heads(stack.attentionBlocks(toSource: source.s), keys: source.s)
            linear(z.h, z.h, rows: t)
        }
        for (rows, blocks) in z.blocks(of: t) {
            work.addLinearForward(
                z, z.h, z.hidden, rows: rows, into: .kept, count: blocks * l)
        }
        work.add(z.activation.forward, t, z.f, count: l)
        linear(z.f, z.h, rows: t)
        if z.drops { work.add(.dropout, t, z.h, count: branches * l) }
    }

    static func head(_ z: Sizes, isTraining: Bool) -> Work {
        var work = Work()
        let rows = min(z.t, ModelConfig.logitsBlockRows)
        for (rows, count) in [(rows, z.t / rows), (z.t % rows, 1)] where rows > 0 {
            if !z.takesKept(rows, z.h, z.vocab) { work.widen(z, rows, z.h, count: count) }
            work.add(Product(.forward, m: rows, n: z.vocab, k: z.h), count: count)
            work.add(
                isTraining ? .crossEntropyTraining : .crossEntropyForward, rows, z.vocab, count: count)
            guard isTraining else { continue }
            if z.hasTransform && z.hasBiases { work.add(.biasGradient, rows, z.vocab, count: count) }
            work.add(Product(.weightGradient, m: z.vocab, n: z.h, k: rows), count: count)
            work.add(Product(.inputGradient, m: rows, n: z.h, k: z.vocab), count: count)
        }
        if z.hasTransform && isTraining {
            work.fill(z.t, z.h)
            work.addNormBackward(z, rows: z.t)
            work.add(z.ungated.backward, z.t, z.h)
            work.addLinearBackward(z, z.h, z.h, rows: z.t)
        }
        return work
    }

    static func backwardOfLayer(_ z: Sizes, _ stack: StackSizes) -> Work {
        var work = Work()
        let t = stack.t
        func linear(
            _ inputs: Int, _ outputs: Int, rows: Int, from dy: Tensor = .full, into dx: Tensor = .full,
            changes: Bool = false
        ) {
            work.addLinearBackward(z, inputs, outputs, rows: rows, from: dy, into: dx, changes: changes)
        }
        // Attention's own gradients are in 16 bits where its activations are.
        func heads(_ blocks: [(rows: Int, keys: Int)], keys: Int) {
            let count = z.b * z.a
            let takesKept = z.takesKept(blocks)
            if !takesKept { work.addHeadReading(z, queries: stack.s, keys: keys, count: count) }
            // Values once, keys as queries meet them, too, where scores are recomputed.
            work.packHead(z, queries: stack.s, keys: keys, count: (z.recomputes ? 3 : 2) * count)
            for (rows, keys) in blocks {
                let scores = Product(.forward, m: rows, n: keys, k: z.d)
                work.add(scores, count: z.recomputes ? 2 * count : count, place: .head)
                if z.recomputes {
                    work.add(.softmaxProbabilities, rows, keys, count: count, place: .head)
                } else {
                    work.widen(z, rows, keys, count: count, place: .head)
                    work.fetch(elements: z.keptElements(rows, keys, count: count))
                }
                if z.drops { work.add(.dropout, rows, keys, count: 2 * count, place: .head) }
                work.add(
                    Product(.weightGradient, m: keys, n: z.d, k: rows), count: 2 * count, place: .head)
                if !takesKept { work.widen(z, rows, z.d, count: 2 * count, place: .head) }
                if !takesKept || !z.gives(depth: keys) {
                    work.round(z, rows, z.d, count: count, place: .head)
                }
                work.add(.rowDots, rows, z.d, count: count, place: .head)
                work.add(.softmaxBackward, rows, keys, count: count, place: .head)
                work.add(Product(.inputGradient, m: rows, n: z.d, k: keys), count: count, place: .head)
            }
            work.round(z, keys, z.d, count: 2 * z.b * z.a / z.group, place: .head)
        }
        let branches = stack.attentions + 1
        if z.drops { work.add(.dropout, t, z.h, count: branches) }
        work.addMLPBackward(z, rows: t)
        if !z.isPost { work.addNormForward(z, rows: t, count: branches) }
        work.addNormBackward(z, rows: t, count: branches)
        if z.isPost {
            work.fill(t, z.h, count: branches)
            work.add(.residualAdd, t, z.h, count: branches)
        }
        if let source = stack.source {
            linear(z.h, z.h, rows: t, into: .kept)
            heads(stack.attentionBlocks(toSource: source.s), keys: source.s)
            linear(z.h, 2 * z.kv, rows: source.t, from: .kept)
            linear(z.h, z.h, rows: t, from: .kept)
        }
        if z.isRotary { work.add(.rotary, t, z.h + z.kv) }
        linear(z.h, z.h, rows: t, into: .kept)
        heads(stack.attentionBlocks, keys: stack.s)
        linear(z.h, z.h + 2 * z.kv, rows: t, from: .kept, changes: z.isRotary)
        return work
    }
}

/// How a tensor is kept: in fp32, or as activations are.
private enum Tensor { case full, kept }

extension Work {
    /// A linear map of activations. Where these are kept in 16 bits a block of rows is multiplied at a time, unless products take
    /// and give them as they are. `changes` says that its output is worked on before it is kept.
    fileprivate mutating func addLinearForward(
        _ z: Workload.Sizes, _ inputs: Int, _ outputs: Int,
        rows: Int, into output: Tensor = .full, changes: Bool = false, count: Int = 1
    ) {
        let takesKept = z.takesKept(rows, inputs, outputs)
        let isDirect = takesKept && !changes && (output == .full || z.gives(depth: inputs))
        if !takesKept { widen(z, rows, inputs, count: count) }
        for (rows, blocks) in isDirect ? [(rows, 1)] : z.blocks(of: rows) {
            let product = Product(.forward, m: rows, n: outputs, k: inputs)
            // Tiles add it as they leave the registers.
            if z.hasBiases && !z.matmul.isInTiles(product) {
                add(.biasFill, rows, outputs, count: blocks * count)
            }
            add(product, count: blocks * count)
        }
        if !isDirect && output == .kept { round(z, rows, outputs, count: count) }
    }

    /// The same of its gradients: that of its input from that of its output.
    fileprivate mutating func addLinearBackward(
        _ z: Workload.Sizes, _ inputs: Int, _ outputs: Int, rows: Int, from dy: Tensor = .full,
        into dx: Tensor = .full, changes: Bool = false
    ) {
        let takesKept = z.takesKept(rows, inputs, outputs)
        let isDirect = takesKept && !changes && (dx == .full || z.gives(depth: outputs))
        if !isDirect && dy == .kept { widen(z, rows, outputs) }
        if !takesKept { widen(z, rows, inputs) }
        for (rows, blocks) in isDirect ? [(rows, 1)] : z.blocks(of: rows) {
            addParameterGradients(z, inputs, outputs, rows: rows, count: blocks)
            add(Product(.inputGradient, m: rows, n: inputs, k: outputs), count: blocks)
        }
        if !isDirect && dx == .kept { round(z, rows, inputs) }
    }

    private mutating func addParameterGradients(
        _ z: Workload.Sizes, _ inputs: Int, _ outputs: Int, rows: Int, count: Int
    ) {
        add(Product(.weightGradient, m: outputs, n: inputs, k: rows), count: count)
        if z.hasBiases { add(.biasGradient, rows, outputs, count: count) }
    }

    /// A feed-forward layer, whose hidden gradient exists for a block of rows at a time where activations are kept in 16 bits: in
    /// bf16 where products take that, else in fp32.
    fileprivate mutating func addMLPBackward(_ z: Workload.Sizes, rows: Int) {
        add(z.activation.backward, rows, z.f)
        let takesKept = z.takesKept(rows, z.f, z.h) && z.takesKept(rows, z.h, z.hidden)
        if !takesKept {
            widen(z, rows, z.f)
            widen(z, rows, z.h)
            if z.takesHalves { widen(z, rows, z.hidden) }
        }
        if z.takesHalves && !(takesKept && z.gives(depth: z.h)) { round(z, rows, z.f) }
        for (rows, blocks) in takesKept
            ? z.blocks(of: rows, atMost: ModelConfig.mlpBlockRows) : z.blocks(of: rows)
        {
            for (inputs, outputs) in [(z.f, z.h), (z.h, z.hidden)] {
                add(Product(.inputGradient, m: rows, n: inputs, k: outputs), count: blocks)
                addParameterGradients(z, inputs, outputs, rows: rows, count: blocks)
            }
        }
    }

    /// The norms of a forward pass over `branches` residual branches, and their sums, which the next norm takes.
    fileprivate mutating func addNorms(_ z: Workload.Sizes, rows: Int, branches: Int) {
        let others = z.hasFinalNorm ? 1 : 0
        // Behind every sum, or before every branch: then the first finds no sum, and the last sum no norm but the final one.
        let ofSums = z.isPost ? branches : branches - 1 + others
        addNormForward(z, rows: rows, count: branches + others - ofSums)
        add(z.norm.ofSum, rows, z.h, count: ofSums)
        add(.residualAdd, rows, z.h, count: branches - ofSums)
    }

    fileprivate mutating func addNormForward(_ z: Workload.Sizes, rows: Int, count: Int = 1) {
        add(z.norm.forward, rows, z.h, count: count)
    }

    mutating func addNormBackward(_ z: Workload.Sizes, rows: Int, count: Int = 1) {
        add(z.norm.backward, rows, z.h, count: count)
    }

    /// Queries, keys and values of `count` heads.
    fileprivate mutating func addHeadReading(_ z: Workload.Sizes, queries: Int, keys: Int, count: Int) {
        widen(z, queries, z.d, count: count, place: .head)
        widen(z, keys, z.d, count: 2 * count, place: .head)
    }

    /// Keys or values of heads, as one product reads them.
    fileprivate mutating func packHead(
        _ z: Workload.Sizes, queries: Int, keys: Int, count: Int
    ) {
        let rows = min(queries, ModelConfig.attentionBlockRows)
        let products = [
            Product(.forward, m: rows, n: keys, k: z.d), Product(.inputGradient, m: rows, n: z.d, k: keys),
        ]
        if products.contains(where: z.matmul.isInTiles) { packInHeads(elements: count * keys * z.d) }
    }

    /// To fp32, of activations that are kept in 16 bits.
    fileprivate mutating func widen(
        _ z: Workload.Sizes, _ rows: Int, _ columns: Int, count: Int = 1, place: Place = .activations
    ) {
        if z.isHalf { add(.widen, rows, columns, count: count, place: place) }
    }

    /// From fp32.
    fileprivate mutating func round(
        _ z: Workload.Sizes, _ rows: Int, _ columns: Int, count: Int = 1, place: Place = .activations
    ) {
        if z.isHalf { add(.round, rows, columns, count: count, place: place) }
    }
}

extension Workload.Sizes {
    /// How many rows of a tensor of `rows` rows one product takes, and how many products do.
    fileprivate func blocks(
        of rows: Int, atMost most: Int = ModelConfig.keptBlockRows
    ) -> [(rows: Int, count: Int)] {
        guard isHalf else { return [(rows, 1)] }
        let block = min(rows, most)
        return [(block, rows / block), (rows % block, 1)].filter { $0.0 > 0 }
    }

    /// Whether all products of matrices with these three extents take activations as they are kept.
    fileprivate func takesKept(_ rows: Int, _ inputs: Int, _ outputs: Int) -> Bool {
        let products = [
            Product(.forward, m: rows, n: outputs, k: inputs),
            Product(.inputGradient, m: rows, n: inputs, k: outputs),
            Product(.weightGradient, m: outputs, n: inputs, k: rows),
        ]
        return takesHalves && products.allSatisfy(PrecisionConfig.MatMulPrecision.medium.isInTiles)
    }

    /// The same of all blocks of a head.
    fileprivate func takesKept(_ blocks: [(rows: Int, keys: Int)]) -> Bool {
        guard let rows = blocks.last?.rows, let keys = blocks.first?.keys else { return false }
        return takesKept(rows, d, keys)
    }

    /// Whether products that take them so also give them, where they sum over `depth`.
    fileprivate func gives(depth: Int) -> Bool { takesHalves && depth <= TileFootprint.mostDepth }

    /// What `count` matrices of probabilities are in elements of fp32.
    fileprivate func keptElements(_ rows: Int, _ columns: Int, count: Int) -> Double {
        Double(rows) * Double(columns) * Double(count) * (isHalf ? 0.5 : 1)
    }
}
