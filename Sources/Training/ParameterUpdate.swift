import Configs
import Kernels
import Transformer

/// What turns summed gradients into new parameters: finiteness check, clipping, learning rate and optimizer, over the
/// rank's shard of the flat arenas. The optimizer's state has one slot of the shard's elements for each moment that its
/// rule keeps.
package final class ParameterUpdate {
    private let network: LanguageModel
    private let rule: any OptimizerRule
    private let schedule: LearningRateSchedule
    private let clipNorm: Double?
    private let shard: ParameterShard
    /// Parameters of the shard.
    private let count: Int
    private let segments: [Segment]
    /// `[rule.stateSlots, count]`
    private let state: AlignedBuffer<Float>

    /// Neighbouring parameters of the shard with the same weight decay.
    private struct Segment {
        let range: Range<Int>
        /// Where their state begins in each slot.
        let stateOffset: Int
        let weightDecay: Double
    }

    /// Bytes of optimizer state.
    var stateBytes: Int { state.bytes }

    /// Allocates the state, all zero. Throws `AllocationError`.
    package init(_ train: TrainConfig, network: LanguageModel, shard: ParameterShard) throws {
        self.network = network
        self.shard = shard
        rule = train.optimizer.rule
        schedule = LearningRateSchedule(train)
        clipNorm = train.clipNorm
        var offset = 0
        segments = shard.ranges.flatMap { range in
            network.layout.decaySegments(train.optimizer).compactMap { segment in
                let range = segment.range.clamped(to: range)
                defer { offset += range.count }
                return range.isEmpty
                    ? nil : Segment(range: range, stateOffset: offset, weightDecay: segment.weightDecay)
            }
        }
        count = offset
        state = try AlignedBuffer(count: rule.stateSlots * count)
    }

    /// The optimizer's state, for checkpoints.
    var storedState: OptimizerState {
        var offset = 0
        let ranges = shard.ranges.map { range in
            defer { offset += range.count }
            return (range, offset)
        }
        return OptimizerState(base: state.base, slots: rule.stateSlots, stride: count, ranges: ranges)
    }

    /// Σ g² over the gradients that this rank alone updates; no other rank counts them.
    func ownedSquares() -> Double {
        var sum = 0.0
        for range in shard.owned {
            sum += Reductions.sumOfSquares(network.gradients.slice(range), on: network.team)
        }
        return sum
    }

    /// Takes step `step`, counted from 1. The gradients of the rank's shard are `scale` times sums over `tokens` target tokens,
    /// whose mean loss is `loss`; `ownedSquares` is the sum of that of all ranks. Throws `.nonFinite`, with the parameters untouched,
    /// when loss or gradient are not finite.
    ///
    /// Returns the norm of the mean gradient before clipping, and the learning rate.
    package func apply(
        step: Int, loss: Double, tokens: Int, ownedSquares: Double, scale: Float = 1
    ) throws -> (gradientNorm: Double, learningRate: Double) {
        let divisor = Double(scale) * Double(tokens)
        let norm =
            (Reductions.sumOfSquares(network.gradients.slice(shard.shared), on: network.team) + ownedSquares)
            .squareRoot()
            / divisor
        guard loss.isFinite, norm.isFinite else { throw nonFinite(step: step, loss: loss, norm: norm) }
        let learningRate = schedule.learningRate(step: step)
        for segment in segments {
            rule.update(
                parameters: network.parameters.slice(segment.range),
                gradients: network.gradients.slice(segment.range),
                state: MatrixView(
                    base: state.base + segment.stateOffset, rows: rule.stateSlots,
                    columns: segment.range.count, stride: count),
                step: step, learningRate: learningRate, weightDecay: segment.weightDecay,
                gradientScale: Float(clipScale(norm: norm) / divisor), on: network.team)
        }
        return (norm, learningRate)
    }

    /// `torch.nn.utils.clip_grad_norm_`.
    private func clipScale(norm: Double) -> Double {
        guard let clipNorm else { return 1 }
        return min(1, clipNorm / (norm + 1e-6))
    }

    private func nonFinite(step: Int, loss: Double, norm: Double) -> LockstepError {
        LockstepError(
            .nonFinite,
            "step \(step): the loss is \(signless(loss)) and the gradient norm \(signless(norm)); parameters are those of step "
                + "\(step - 1). A lower train.optimizer.learning_rate, more train.schedule.warmup_steps or a "
                + "train.clip_norm usually helps.")
    }
}

extension ParameterLayout {
    /// Neighbouring tensors with the same weight decay.
    fileprivate func decaySegments(
        _ optimizer: OptimizerConfig
    ) -> [(range: Range<Int>, weightDecay: Double)] {
        tensors.reduce(into: []) { segments, tensor in
            let weightDecay = optimizer.weightDecay(of: tensor.kind)
            if let last = segments.last, last.weightDecay == weightDecay {
                segments[segments.count - 1].range = last.range.lowerBound..<tensor.range.upperBound
            } else {
                segments.append((tensor.range, weightDecay))
            }
        }
    }
}

/// A number for a message; the sign of a NaN says nothing.
private func signless(_ value: Double) -> Double { value.isNaN ? .nan : value }

extension OptimizerConfig {
    fileprivate func weightDecay(of kind: ParameterTensor.Kind) -> Double {
        switch kind {
        case .matrix: weightDecay
        case .embedding: embeddingWeightDecay
        case .bias: biasWeightDecay
        case .norm: normWeightDecay
        }
    }

    /// The rule that this configuration names.
    fileprivate var rule: any OptimizerRule {
        switch name {
        case .sgd: SGD(momentum: momentum, nesterov: nesterov)
        case .adam: Adam(beta1: betas[0], beta2: betas[1], epsilon: epsilon)
        case .adamw: AdamW(beta1: betas[0], beta2: betas[1], epsilon: epsilon)
        case .rmsprop: RMSProp(alpha: alpha, epsilon: epsilon, momentum: momentum)
        case .adagrad: AdaGrad(epsilon: epsilon)
        }
    }
}
