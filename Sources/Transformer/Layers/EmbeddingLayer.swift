import Configs
import Kernels

/// Sum of token embedding, scaled by √h or not, and position embedding, learned or sinusoidal or none, then dropout. No
/// matrix products; a look-up is no FLOPs.
struct EmbeddingLayer {
    /// `[V, h]`; a tied head multiplies by it.
    let tokens: Slot
    private let scale: Float
    /// Learned, `[s, h]`.
    private let positions: Slot?
    private let sinusoids: Slot?
    private let dropout: DropoutLayer

    init(plan: inout ModelPlan) {
        let model = plan.model
        tokens = plan.parameters.add(
            "token_embedding.weight", shape: [model.vocabSize, model.dModel],
            initialization: .normal(standardDeviation: 0.02))
        scale = model.scaleEmbeddings ? Float(model.dModel).squareRoot() : 1
        positions =
            model.positions == .learned
            ? plan.parameters.add(
                "position_embedding.weight", shape: [model.contextLength, model.dModel],
                initialization: .normal(standardDeviation: 0.02)) : nil
        sinusoids = model.positions == .sinusoidal ? plan.positionTable?.slot : nil
        dropout = DropoutLayer(plan: &plan)
    }

    /// The batch's tokens → `y` `[t, h]`.
    func forward(_ pass: Pass, into y: Matrix) {
        Embedding.forward(
            tokens: pass.batch.inputs, sequences: pass.batch.sequences, tokenWeight: pass.parameter(tokens),
            scale: scale,
            positionWeight: positions.map { pass.parameter($0) } ?? sinusoids.map { pass.scratch($0) },
            into: y, on: pass.team)
        dropout.apply(pass, y, into: y)
    }

    /// Adds the embeddings' gradients from `dy` `[t, h]`, which it overwrites where it drops.
    func backward(_ pass: Pass, _ dy: Matrix) {
        dropout.apply(pass, dy, into: dy)
        Embedding.backward(
            dy, tokens: pass.batch.inputs, sequences: pass.batch.sequences,
            dTokenWeight: pass.gradient(tokens), scale: scale,
            dPositionWeight: positions.map { pass.gradient($0) }, on: pass.team)
    }
}
