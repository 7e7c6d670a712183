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

/// A layer on a branch of the residual stream, with its norm: x + dropout(layer(norm(x))) with the norm before it (GPT-2),
/// norm(x + dropout(layer(x))) with the norm behind the sum (Vaswani et al. 2017).
///
/// Keeps the norm's output, or its input, and the branch's: 2·t·h elements beside those of norm and layer.
struct ResidualBranch<Layer: BranchLayer> {
    private let placement: ModelConfig.NormPlacement
    private let norm: NormLayer
    private let layer: Layer
    private let dropout: DropoutLayer
    /// The norm's output before the layer, or the sum before the norm, `[t, h]`.
    private let inner: KeptSlot
    /// The residual stream behind this branch, `[t, h]`.
    let output: KeptSlot
    /// Workspace `[t, h]`.
    private let branch: Slot

    /// - Parameters:
    ///   - branch: workspace `[t, h]` that all branches share.
    ///   - makeLayer: the layer, given its name.
    init(
        _ name: String, branch: Slot, plan: inout ModelPlan, _ makeLayer: (String, inout ModelPlan) -> Layer
    ) {
        placement = plan.model.norm
        self.branch = branch
        let (tokens, width) = (plan.tokens, plan.model.dModel)
        inner = plan.keep("\(name).inner", rows: tokens, columns: width)
        // In forward order, so that gradients become complete from the end.
        switch placement {
        case .pre:
            norm = NormLayer("\(name)_norm", plan: &plan)
            layer = makeLayer(name, &plan)
        case .post:
            layer = makeLayer(name, &plan)
            norm = NormLayer("\(name)_norm", plan: &plan)
        }
        dropout = DropoutLayer(plan: &plan)
        output = plan.keep("\(name).stream", rows: tokens, columns: width)
    }

    /// Residual stream `x` `[t, h]` → `output`, which is returned.
    func forward(_ pass: Pass, _ x: StoredMatrix) -> StoredMatrix {
        let update = pass.tokenRows(pass.scratch(branch))
        let (inside, stream) = (pass.kept(inner), pass.kept(output))
        switch placement {
        case .pre:
            norm.forward(pass, x, into: inside)
            layer.forward(pass, inside, into: update)
            dropout.apply(pass, update, into: update)
            add(pass, x, update, into: stream)
        case .post:
            layer.forward(pass, x, into: update)
            dropout.apply(pass, update, into: update)
            add(pass, x, update, into: inside)
            norm.forward(pass, inside, into: stream)
        }
        return stream
    }

    /// `sum` = `x` + `update`.
    private func add(_ pass: Pass, _ x: StoredMatrix, _ update: Matrix, into sum: StoredMatrix) {
        for rows in pass.blocks(of: x.rows) {
            pass.write(sum.rows(rows)) {
                Residual.add(pass.read(x.rows(rows)), update.rows(rows), into: $0, on: pass.team)
            }
        }
    }

    /// Turns `stream`, the gradient with respect to the output, into that with respect to the forward's `x`, and adds the
    /// parameters' gradients. Calls `pause` now and then between pieces of work.
    func backward(_ pass: Pass, stream: Matrix, x: StoredMatrix, pause: () throws -> Void) rethrows {
        let update = pass.tokenRows(pass.scratch(branch))
        let inside = pass.kept(inner)
        switch placement {
        case .pre:
            let upstream = dropped(pass, stream, into: update)
            try layer.backward(pass, upstream, x: inside, into: update, pause: pause)
            norm.backward(pass, update, x: x, addingTo: stream)
        case .post:
            Reductions.fill(update.vector, with: 0, on: pass.team)
            norm.backward(pass, stream, x: inside, addingTo: update)
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
