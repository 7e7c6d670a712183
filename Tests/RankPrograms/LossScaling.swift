import Configs
import Kernels
import MessagePassing
import Training
import Transformer

/// A step whose gradients overflow fp16 leaves parameters and optimizer as they were and halves the scale on all ranks, until
/// gradients are finite; they are then those of any other scale. Whole and sharded.
func lossScale(_ world: borrowing Communicator) throws {
    let problem = try SmallProblem(vocabSize: 300)
    let topology = try Topology(.auto, world: world)
    for isSharded in [false, true] {
        var config = problem.config
        config.precision.activations = .fp16
        config.parallel.optimizerSharding = isSharded
        let (step, network) = try problem.step(config, over: topology)
        let (twin, twinNetwork) = try problem.step(config, over: topology)
        try require(step.lossScale == LossScale(), "\(String(describing: step.lossScale))")

        // So high that what attention keeps of its gradients is not finite.
        step.lossScale = LossScale(0x1p40, goodSteps: 7)
        let before = bits(network.parameters)
        var scale: Float = 0x1p40
        var result = try run(step, 1)
        while result.skipped != nil {
            scale /= 2
            try require(result.loss.isFinite, "a loss of \(result.loss)")
            try require(bits(network.parameters) == before, "the parameters were touched")
            try require(
                result.reducedLossScale == scale && step.lossScale == LossScale(scale),
                "\(String(describing: step.lossScale)), expected \(scale)")
            try require(scale > 1, "gradients overflow at every scale")
            result = try run(step, 1)
        }
        try require(scale < 0x1p36 && step.lossScale == LossScale(scale, goodSteps: 1), "\(scale)")
        try requireEqual(step.lossScale?.scale ?? 0, on: world)
        try require(bits(network.parameters) != before, "nothing was learned")

        // Another power of two is another number of the same digits, but for what it makes too small.
        twin.lossScale = LossScale(scale / 4)
        _ = try run(twin, 1)
        let largest =
            (0..<network.layout.count).map {
                abs(network.gradients[$0] / 4 - twinNetwork.gradients[$0])
            }.max() ?? 0
        let size = (0..<network.layout.count).map { abs(twinNetwork.gradients[$0]) }.max() ?? 0
        if !isSharded { try require(largest < 1e-4 * size, "\(largest) of \(size)") }

        // The 2,000th step with finite gradients doubles it.
        step.lossScale = LossScale(1024, goodSteps: LossScale.growthInterval - 1)
        try require(try run(step, 2).skipped == nil, "a scale of 1024")
        try require(step.lossScale == LossScale(2048), "\(String(describing: step.lossScale))")

        // A loss that is not finite is no matter of the scale.
        network.parameters[network.layout.count / 2] = .nan
        let error = try requireThrown(LockstepError.self, "a loss that is not finite") {
            _ = try run(step, 3)
        }
        try require(error.status == .nonFinite && step.lossScale == LossScale(2048), "\(error)")
    }
}

/// A whole run that begins with a loss scale of 2^40. Takes its configuration and folder.
func highLossScale(_ world: borrowing Communicator) throws {
    try trainArguments(world) { $0.step.lossScale = LossScale(0x1p40) }
}

private func requireEqual(_ value: Float, on world: borrowing Communicator) throws {
    var all = [Float](repeating: 0, count: world.size)
    try [value].withUnsafeBufferPointer { own in
        try all.withUnsafeMutableBufferPointer { try world.allgather(own, into: $0) }
    }
    try require(all.allSatisfy { $0 == value }, "ranks differ: \(all)")
}
