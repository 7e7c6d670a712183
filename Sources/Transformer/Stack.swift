import Configs
import Kernels

/// An encoder or a decoder: embeddings, blocks, and a norm behind them where the model has one.
struct Stack {
    let embedding: EmbeddingLayer
    private let embedded: KeptSlot
    private let blocks: [Block]
    /// Norm behind the blocks, and its output.
    private let final: (norm: NormLayer, output: KeptSlot)?
    /// Where the parameters of the stack begin, and those behind its blocks.
    let firstParameter: Int
    private let firstParameterBehindBlocks: Int
    /// Gradient of the residual stream, and of what a layer adds to it: workspace of at least `[t, h]` each.
    private let stream: Slot
    private let branch: BranchScratch

    /// What comes out of the blocks and the final norm, `[t, h]`.
    var output: KeptSlot { final?.output ?? blocks.last?.output ?? embedded }

    /// Plans the stack of `plan.side`.
    ///
    /// - Parameters:
    ///   - prefix: of the names of its tensors.
    ///   - tokens: the token embedding of another stack; nil for one of its own.
    ///   - stream, branch: workspace, the former of at least `[t, h]`, that stacks may share.
    init(_ prefix: String, tokens: Slot?, stream: Slot, branch: BranchScratch, plan: inout ModelPlan) {
        (self.stream, self.branch) = (stream, branch)
        firstParameter = plan.parameters.count
        embedding = EmbeddingLayer(prefix, shared: tokens, plan: &plan)
        let (rows, width) = (plan.tokens, plan.model.dModel)
        embedded = plan.keep("\(prefix)embedded", rows: rows, columns: width)
        blocks = (0..<plan.layers).map { Block("\(prefix)layers.\($0)", scratch: branch, plan: &plan) }
        firstParameterBehindBlocks = plan.parameters.count
        final =
            plan.model.finalNorm
            ? (
                NormLayer("\(prefix)final_norm", plan: &plan),
                plan.keep("\(prefix)final_norm.output", rows: rows, columns: width)
            ) : nil
    }

    /// From the batch's tokens to `output`.
    func forward(_ pass: Pass) {
        var x = ResidualStream(pass.kept(embedded))
        embedding.forward(pass, into: x.sum, scratch: branch.update(pass))
        for block in blocks { x = block.forward(pass, x) }
        if let final {
            final.norm.forward(pass, x, into: pass.kept(final.output))
        } else {
            x.complete(pass)
        }
    }

    /// Workspace `[t, h]` for the gradient of the output, and other workspace as large that is free until `backward`.
    func gradients(_ pass: Pass) -> (output: Matrix, free: Matrix) {
        let (dStream, dBranch) = (pass.tokenRows(pass.scratch(stream)), branch.update(pass))
        // A final norm moves the gradient from the one to the other.
        return final == nil ? (dStream, dBranch) : (dBranch, dStream)
    }

    /// Adds the parameters' gradients from `gradient`, that of the output, which it overwrites: one of the `gradients`, or
    /// workspace that is none of them. As it comes down the layers, `ready(n)` says that gradients from element n on are
    /// complete, again and again with the same n while a layer is under way.
    func backward(_ pass: Pass, gradient: Matrix, ready: (Int) throws -> Void) rethrows {
        let dBranch = branch.update(pass)
        var dStream = gradient
        if let final {
            dStream = pass.tokenRows(pass.scratch(stream))
            Reductions.fill(dStream.vector, with: 0, on: pass.team)
            final.norm.backward(pass, gradient, x: blockInput(pass, blocks.count), addingTo: dStream)
        }
        var complete = firstParameterBehindBlocks
        try ready(complete)
        for index in blocks.indices.reversed() {
            try blocks[index].backward(pass, stream: dStream, x: blockInput(pass, index)) {
                try ready(complete)
            }
            complete = blocks[index].firstParameter
            try ready(complete)
        }
        embedding.backward(pass, dStream, scratch: dBranch)
    }

    /// Input of block `index`; what comes out of the last one for `index` = number of blocks.
    private func blockInput(_ pass: Pass, _ index: Int) -> StoredMatrix {
        pass.kept(index == 0 ? embedded : blocks[index - 1].output)
    }
}
