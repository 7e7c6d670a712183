import Configs
import Kernels

/// Attention, then the feed-forward network, each on a branch of the residual stream.
struct Block {
    private let attention: ResidualBranch<AttentionLayer>
    private let mlp: ResidualBranch<MLPLayer>
    /// Where this block's parameters begin in the arenas.
    let firstParameter: Int
    /// The residual stream behind this block, `[t, h]`.
    var output: Slot { mlp.output }

    /// `branch` is workspace `[t, h]` that all blocks share.
    init(_ name: String, branch: Slot, plan: inout ModelPlan) {
        firstParameter = plan.parameters.count
        attention = ResidualBranch("\(name).attention", branch: branch, plan: &plan) {
            AttentionLayer($0, plan: &$1)
        }
        mlp = ResidualBranch("\(name).mlp", branch: branch, plan: &plan) { MLPLayer($0, plan: &$1) }
    }

    /// Residual stream `x` `[t, h]` → `output`, which is returned.
    func forward(_ pass: Pass, _ x: Matrix) -> Matrix {
        mlp.forward(pass, attention.forward(pass, x))
    }

    /// Turns `stream`, the gradient with respect to the output, into that with respect to `x`, and adds the
    /// parameters' gradients. Calls `pause` now and then between pieces of work.
    func backward(_ pass: Pass, stream: Matrix, x: Matrix, pause: () throws -> Void) rethrows {
        let middle = pass.tokenRows(pass.activation(attention.output))
        try mlp.backward(pass, stream: stream, x: middle, pause: pause)
        try pause()
        try attention.backward(pass, stream: stream, x: x, pause: pause)
    }
}
