/// What the mean loss is multiplied by so that gradients in fp16 do not vanish, found as `torch.amp.GradScaler` does
/// (Micikevicius et al. 2018): halved when gradients are not finite, and doubled behind so many steps with gradients that
/// are. A power of two, which rounds nothing.
package struct LossScale: Codable, Equatable {
    package private(set) var scale: Float = 65_536
    /// With finite gradients, since the scale changed.
    package private(set) var goodSteps = 0

    package static let growthInterval = 2000

    private enum CodingKeys: String, CodingKey {
        case scale
        case goodSteps = "good_steps"
    }

    package init() {}

    package init(_ scale: Float, goodSteps: Int = 0) {
        self.scale = scale
        self.goodSteps = goodSteps
    }

    /// Gradients were finite.
    package mutating func grow() {
        goodSteps += 1
        guard goodSteps == Self.growthInterval else { return }
        goodSteps = 0
        if (2 * scale).isFinite { scale *= 2 }
    }

    /// Gradients were not finite. Returns whether the scale may have been why, and is less now; one of 1 is not.
    package mutating func backOff() -> Bool {
        guard scale > 1 else { return false }
        scale /= 2
        goodSteps = 0
        return true
    }

    /// Whether it can be that of a checkpoint of step `step`.
    func isInOrder(at step: Int) -> Bool {
        scale.isFinite && scale >= 1 && scale.significand == 1
            && (0..<min(step + 1, Self.growthInterval)).contains(goodSteps)
    }
}
