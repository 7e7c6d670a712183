import Configs
import Kernels

/// Self-attention, in the decoder of an encoder–decoder attention to the encoder's output, then the feed-forward network,
/// each on a branch of the residual stream.
struct Block {
    private let attention: ResidualBranch<AttentionLayer>
    private let crossAttention: ResidualBranch<CrossAttentionLayer>?
    private let mlp: ResidualBranch<MLPLayer>
    /// Where this block's parameters begin in the arenas.
    let firstParameter: Int
    /// The residual stream behind this block, `[t, h]`.
    var output: KeptSlot { mlp.output }

    /// `scratch` is workspace that all blocks share.
    init(_ name: String, scratch: BranchScratch, plan: inout ModelPlan) {
        firstParameter = plan.parameters.count
        attention = ResidualBranch("\(name).attention", scratch: scratch, plan: &plan) {
            AttentionLayer($0, plan: &$1)
        }
        crossAttention = plan.memory.map { memory in
            ResidualBranch("\(name).cross_attention", scratch: scratch, plan: &plan) {
                CrossAttentionLayer($0, memory: memory, plan: &$1)
            }
        }
        mlp = ResidualBranch("\(name).mlp", scratch: scratch, plan: &plan) { MLPLayer($0, plan: &$1) }
    }

    /// Residual stream `x` `[t, h]` → the stream behind this block, which is returned: kept in `output` once it is complete.
    func forward(_ pass: Pass, _ x: ResidualStream) -> ResidualStream {
        var y = attention.forward(pass, x)
        if let crossAttention { y = crossAttention.forward(pass, y) }
        return mlp.forward(pass, y)
    }

    /// Turns `stream`, the gradient with respect to the output, into that with respect to `x`, and adds the
    /// parameters' gradients. Calls `pause` now and then between pieces of work.
    func backward(_ pass: Pass, stream: Matrix, x: StoredMatrix, pause: () throws -> Void) rethrows {
        let behindAttention = pass.kept(attention.output)
        let middle = crossAttention.map { pass.kept($0.output) } ?? behindAttention
        try mlp.backward(pass, stream: stream, x: middle, pause: pause)
        try pause()
        if let crossAttention {
            try crossAttention.backward(pass, stream: stream, x: behindAttention, pause: pause)
            try pause()
        }
        try attention.backward(pass, stream: stream, x: x, pause: pause)
    }
}
