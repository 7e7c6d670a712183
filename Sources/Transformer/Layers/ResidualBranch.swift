import Configs
import Kernels

/// What a residual branch computes: `[t, h]` → `[t, h]`.
protocol BranchLayer {
    func forward(_ pass: Pass, _ x: StoredMatrix, into y: Matrix)
    /// Adds the parameters' gradients from `dy` and the forward's `x`, and writes `dx`, which may be `dy`. Calls `pause` now
    /// and then between pieces of work.
    func backward(
        _ pass: Pass, _ dy: Matrix, x: StoredMatrix, into dx: Matrix, pause: () throws -> Void
    ) rethrows
}

/// Workspace that the residual branches of a model share.
struct BranchScratch {
    /// What a layer adds to the stream, and the gradient of what it takes, at least `[t, h]`.
    let update: Slot
    /// What a norm before a layer gives it.
    private let normed: ScratchSlot

    /// - Parameter rows: the most tokens of a pass through any stack.
    init(rows: Int, plan: inout ModelPlan) {
        let (width, format) = (plan.model.dModel, plan.format)
        update = plan.workspace.reserve("branch", rows: rows, columns: width)
        normed = ScratchSlot(
            "branch.normed", rows: plan.model.norm == .pre ? rows : 0, columns: width, format,
            in: &plan.workspace)
    }

    /// `[t, h]` each.
    func update(_ pass: Pass) -> Matrix { pass.tokenRows(pass.scratch(update)) }
    func normed(_ pass: Pass) -> StoredMatrix { normed.matrix(pass, rows: pass.tokens) }
}

/// The residual stream `[t, h]` between two layers: what a branch adds to it is only added as a norm reads it, in one pass
/// over memory.
struct ResidualStream {
    /// Where it is kept; not there yet while there are terms.
    let sum: StoredMatrix
    let terms: ResidualTerms?

    init(_ sum: StoredMatrix, of terms: ResidualTerms? = nil) {
        (self.sum, self.terms) = (sum, terms)
    }

    /// The stream as it is kept, for who is no norm.
    @discardableResult
    func complete(_ pass: Pass) -> StoredMatrix {
        if let terms { Residual.add(terms, into: sum, on: pass.team) }
        return sum
    }
}

/// A layer on a branch of the residual stream, with its norm: x + dropout(layer(norm(x))) with the norm before it (GPT-2),
/// norm(x + dropout(layer(x))) with the norm behind the sum (Vaswani et al. 2017).
///
/// Keeps the sum, t·h elements, and with the norm behind it the norm's output, too, beside what norm and layer keep. What a
/// norm before the layer gives it is computed again for the backward pass.
struct ResidualBranch<Layer: BranchLayer> {
    /// Of the norm: before the layer, or behind the sum `[t, h]`, which is then kept.
    private enum Placement {
        case pre
        case post(sum: KeptSlot)
    }

    private let placement: Placement
    private let norm: NormLayer
    private let layer: Layer
    private let dropout: DropoutLayer
    /// The residual stream behind this branch, `[t, h]`.
    let output: KeptSlot
    private let scratch: BranchScratch

    /// - Parameters:
    ///   - scratch: workspace that all branches share.
    ///   - makeLayer: the layer, given its name.
    init(
        _ name: String, scratch: BranchScratch, plan: inout ModelPlan,
        _ makeLayer: (String, inout ModelPlan) -> Layer
    ) {
        self.scratch = scratch
        let (tokens, width) = (plan.tokens, plan.model.dModel)
        // In forward order, so that gradients become complete from the end.
        switch plan.model.norm {
        case .pre:
            norm = NormLayer("\(name)_norm", plan: &plan)
            layer = makeLayer(name, &plan)
            placement = .pre
        case .post:
            layer = makeLayer(name, &plan)
            norm = NormLayer("\(name)_norm", plan: &plan)
            placement = .post(sum: plan.keep("\(name).sum", rows: tokens, columns: width))
        }
        dropout = DropoutLayer(plan: &plan)
        output = plan.keep("\(name).stream", rows: tokens, columns: width)
    }

    /// Residual stream `x` `[t, h]` → the stream behind this branch, which is returned: kept in `output` once it is complete.
    func forward(_ pass: Pass, _ x: ResidualStream) -> ResidualStream {
        let update = scratch.update(pass)
        let stream = pass.kept(output)
        switch placement {
        case .pre:
            let normed = scratch.normed(pass)
            norm.forward(pass, x, into: normed)
            layer.forward(pass, normed, into: update)
            dropout.apply(pass, update, into: update)
            return ResidualStream(stream, of: ResidualTerms(x.sum, update))
        case .post(let sum):
            let x = x.complete(pass)
            layer.forward(pass, x, into: update)
            dropout.apply(pass, update, into: update)
            norm.forward(
                pass, ResidualStream(pass.kept(sum), of: ResidualTerms(x, update)), into: stream)
            return ResidualStream(stream)
        }
    }

    /// Turns `stream`, the gradient with respect to the output, into that with respect to the forward's `x`, and adds the
    /// parameters' gradients. Calls `pause` now and then between pieces of work.
    func backward(_ pass: Pass, stream: Matrix, x: StoredMatrix, pause: () throws -> Void) rethrows {
        let update = scratch.update(pass)
        switch placement {
        case .pre:
            let normed = scratch.normed(pass)
            norm.forward(pass, x, into: normed)
            let upstream = dropped(pass, stream, into: update)
            try layer.backward(pass, upstream, x: normed, into: update, pause: pause)
            norm.backward(pass, update, x: x, addingTo: stream)
        case .post(let sum):
            Reductions.fill(update.vector, with: 0, on: pass.team)
            norm.backward(pass, stream, x: pass.kept(sum), addingTo: update)
            let upstream = dropped(pass, update, into: stream)
            try layer.backward(pass, upstream, x: x, into: stream, pause: pause)
            Residual.add(stream, update, into: stream, on: pass.team)
        }
    }

    /// The layer's share of the gradient `dy` of the sum: `dy` itself when nothing is dropped, otherwise in `y`.
    private func dropped(_ pass: Pass, _ dy: Matrix, into y: Matrix) -> Matrix {
        guard dropout.isActive(pass) else { return dy }
        dropout.apply(pass, dy, into: y)
        return y
    }
}
