import Configs
import Kernels

/// Sum of token and learned position embedding, then dropout. No matrix products; a look-up is no FLOPs.
struct EmbeddingLayer {
    /// `[V, h]`; a tied head multiplies by it.
    let tokens: Slot
    private let positions: Slot
    private let dropout: DropoutLayer

    init(plan: inout ModelPlan) {
        let model = plan.model
        tokens = plan.parameters.add(
            "token_embedding.weight", shape: [model.vocabSize, model.dModel],
            initialization: .normal(standardDeviation: 0.02))
        positions = plan.parameters.add(
            "position_embedding.weight", shape: [model.contextLength, model.dModel],
            initialization: .normal(standardDeviation: 0.02))
        dropout = DropoutLayer(plan: &plan)
    }

    /// The batch's tokens → `y` `[t, h]`.
    func forward(_ pass: Pass, into y: Matrix) {
        Embedding.forward(
            tokens: pass.batch.inputs, sequences: pass.batch.sequences, tokenWeight: pass.parameter(tokens),
            positionWeight: pass.parameter(positions), into: y, on: pass.team)
        dropout.apply(pass, y, into: y)
    }

    /// Adds the embeddings' gradients from `dy` `[t, h]`, which it overwrites where it drops.
    func backward(_ pass: Pass, _ dy: Matrix) {
        dropout.apply(pass, dy, into: dy)
        Embedding.backward(
            dy, tokens: pass.batch.inputs, sequences: pass.batch.sequences,
            dTokenWeight: pass.gradient(tokens), dPositionWeight: pass.gradient(positions),
            on: pass.team)
    }
}
