import Configs
import Kernels

/// Inverted dropout (Srivastava et al. 2014): drops with probability `rate` and scales what stays by 1/(1 − rate).
///
/// The mask is a function of seed, step, site and the element's place in the global batch; it is made again in backward
/// instead of being kept, and is the same at every number of ranks.
struct DropoutLayer {
    private let rate: Float
    private let site: Int

    init(plan: inout ModelPlan) {
        rate = Float(plan.model.dropout)
        site = plan.addDropoutSite()
    }

    /// Whether this pass drops anything.
    func isActive(_ pass: Pass) -> Bool { rate > 0 && pass.dropout != nil }

    /// Forward and backward alike: mask∘x/(1 − rate) into `y`, which may be `x`. `firstElement` is the place of
    /// `x[0, 0]` in the tensor of the global batch, whose rows have `rowLength` elements.
    func apply(
        _ pass: Pass, _ x: Matrix, firstElement: Int, rowLength: Int, into y: Matrix, on team: ThreadTeam
    ) {
        guard rate > 0, let dropout = pass.dropout else { return }
        Dropout.apply(
            x, rate: rate, key: DropoutKey(seed: dropout.seed, step: dropout.step, site: site),
            firstElement: UInt64(firstElement), rowLength: rowLength, into: y, on: team)
    }

    /// The same for activations `[t, h]` of the pass, or rows of these from row `first` on.
    func apply(_ pass: Pass, _ x: Matrix, from first: Int = 0, into y: Matrix) {
        apply(
            pass, x, firstElement: (pass.batch.firstSequence * pass.batch.length + first) * x.columns,
            rowLength: x.columns, into: y, on: pass.team)
    }
}
