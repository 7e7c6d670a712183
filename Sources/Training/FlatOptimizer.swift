import Configs
import Kernels
import Transformer

/// Applies an optimizer rule to the whole parameter arena; its state has one slot of the same layout for each moment that
/// the rule keeps.
final class FlatOptimizer {
    private let rule: any OptimizerRule
    private let weightDecay: Double
    /// Neighbouring tensors that all decay or all do not.
    private let segments: [(range: Range<Int>, decays: Bool)]
    /// `rule.stateSlots` arenas, one behind the other.
    private let state: AlignedBuffer<Float>
    private let count: Int

    var stateBytes: Int { state.bytes }

    init(_ config: OptimizerConfig, layout: ParameterLayout) throws {
        rule = config.rule
        weightDecay = config.weightDecay
        count = layout.count
        state = try AlignedBuffer(count: rule.stateSlots * layout.count)
        segments = layout.tensors.reduce(into: []) { segments, tensor in
            if let last = segments.last, last.decays == tensor.decays {
                segments[segments.count - 1].range = last.range.lowerBound..<tensor.range.upperBound
            } else {
                segments.append((tensor.range, tensor.decays))
            }
        }
    }

    /// Takes step `step`, counted from 1, with the gradients as they are times `gradientScale`.
    func update(_ decoder: Decoder, step: Int, learningRate: Double, gradientScale: Double) {
        for segment in segments {
            rule.update(
                parameters: decoder.parameters.slice(segment.range),
                gradients: decoder.gradients.slice(segment.range),
                state: MatrixView(
                    base: state.base + segment.range.lowerBound, rows: rule.stateSlots,
                    columns: segment.range.count, stride: count),
                step: step, learningRate: learningRate, weightDecay: segment.decays ? weightDecay : 0,
                gradientScale: Float(gradientScale))
        }
    }
}

extension OptimizerConfig {
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
