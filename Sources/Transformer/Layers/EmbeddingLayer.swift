import Configs
import Kernels

/// Sum of token embedding, scaled by √h or not, position embedding, learned or sinusoidal or none, and where tokens have
/// types that of the first type; then a norm where BERT has it, and dropout. No matrix products; a look-up is no FLOPs.
///
/// Keeps the sum, t·h elements, where it is normed.
struct EmbeddingLayer {
    /// `[V, h]`; a tied head multiplies by it, and an encoder and its decoder may share it.
    let tokens: Slot
    private let scale: Float
    /// Learned, `[s, h]`.
    private let positions: Slot?
    private let sinusoids: Slot?
    /// `[types, h]`
    private let types: Slot?
    /// Norm of the sum, and the sum `[t, h]`.
    private let normed: (norm: NormLayer, sum: KeptSlot)?
    private let dropout: DropoutLayer

    /// - Parameters:
    ///   - prefix: of the names of its tensors.
    ///   - shared: the token embedding of another stack; nil for one of its own.
    init(_ prefix: String, shared: Slot?, plan: inout ModelPlan) {
        let model = plan.model
        tokens = shared ?? Self.addTokens(prefix, &plan)
        scale = model.scaleEmbeddings ? Float(model.dModel).squareRoot() : 1
        positions =
            model.positions == .learned
            ? plan.parameters.add(
                "\(prefix)position_embedding.weight", .embedding, shape: [plan.length, model.dModel],
                initialization: .normal(standardDeviation: 0.02)) : nil
        sinusoids = model.positions == .sinusoidal ? plan.positionTable?.slot : nil
        types =
            model.tokenTypes > 0
            ? plan.parameters.add(
                "\(prefix)token_type_embedding.weight", .embedding, shape: [model.tokenTypes, model.dModel],
                initialization: .normal(standardDeviation: 0.02)) : nil
        normed =
            model.embeddingNorm
            ? (
                NormLayer("\(prefix)embedding_norm", plan: &plan),
                plan.keep(
                    "\(prefix)embedding_norm.sum", rows: plan.tokens, columns: model.dModel)
            ) : nil
        dropout = DropoutLayer(plan: &plan)
    }

    /// Adds a token embedding `[V, h]` to the parameters.
    static func addTokens(_ prefix: String, _ plan: inout ModelPlan) -> Slot {
        plan.parameters.add(
            "\(prefix)token_embedding.weight", .embedding, shape: [plan.model.vocabSize, plan.model.dModel],
            initialization: .normal(standardDeviation: 0.02))
    }

    /// The batch's tokens → `y` `[t, h]`. `scratch` `[t, h]` is overwritten where activations are kept in 16 bits.
    func forward(_ pass: Pass, into y: StoredMatrix, scratch: Matrix) {
        let kept = normed.map { pass.kept($0.sum) } ?? y
        let sum = kept.destination(scratch.vector)
        Embedding.forward(
            tokens: pass.batch.inputs, sequences: pass.batch.sequences, tokenWeight: pass.parameter(tokens),
            scale: scale,
            positionWeight: positions.map { pass.parameter($0) } ?? sinusoids.map { pass.scratch($0) },
            into: sum, on: pass.team)
        if let types {
            Embedding.add(pass.parameter(types).rows(0..<1).vector, toEveryRowOf: sum, on: pass.team)
        }
        if let normed {
            kept.keep(sum, on: pass.team)
            normed.norm.forward(pass, kept, into: y) { y, rows in
                dropout.apply(pass, y, from: rows.lowerBound, into: y)
            }
        } else {
            dropout.apply(pass, sum, into: sum)
            kept.keep(sum, on: pass.team)
        }
    }

    /// Adds the embeddings' gradients from `dy` `[t, h]`, which it overwrites where it drops, as it does `scratch`
    /// `[t, h]`.
    func backward(_ pass: Pass, _ dy: Matrix, scratch: Matrix) {
        dropout.apply(pass, dy, into: dy)
        var dSum = dy
        if let normed {
            dSum = scratch
            Reductions.fill(dSum.vector, with: 0, on: pass.team)
            normed.norm.backward(
                pass, dy, x: pass.kept(normed.sum), addingTo: dSum)
        }
        if let types {
            BiasGradient.accumulate(
                dSum, into: pass.gradient(types).rows(0..<1).vector, on: pass.team)
        }
        Embedding.backward(
            dSum, tokens: pass.batch.inputs, sequences: pass.batch.sequences,
            dTokenWeight: pass.gradient(tokens), scale: scale,
            dPositionWeight: positions.map { pass.gradient($0) }, on: pass.team)
    }
}
