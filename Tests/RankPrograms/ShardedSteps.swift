import Configs
import Cost
import Kernels
import Ledger
import MessagePassing
import Training
import Transformer

/// Six steps over every topology, the optimizer whole and sharded, of a decoder and of an encoder with one: the same losses, the parameters of all ranks the same,
/// and memory and traffic as estimated.
func shardedSteps(_ world: borrowing Communicator) throws {
    for pairs in [false, true] { try shardedSteps(try SmallProblem(vocabSize: 6001, pairs: pairs), world) }
}

private func shardedSteps(_ problem: SmallProblem, _ world: borrowing Communicator) throws {
    var reference: [Double] = []
    try forEachTopology(world) { topology, name in
        for sharding in [false, true] {
            var config = problem.config
            config.parallel.optimizerSharding = sharding
            let (step, network) = try problem.step(config, over: topology)
            var losses: [Double] = []
            for number in 1...6 {
                var clock = PhaseClock()
                let result = try step.run(number, clock: &clock)
                losses.append(result.loss)
                let isWithinBackward = clock.finish().reduceOverlapped > 0
                try require(isWithinBackward, equals: topology.hosts > 1, "\(name): reduced within backward")
                try requireEstimate(result, step.memory, config, topology, "\(name), sharding \(sharding)")
            }
            if reference.isEmpty { reference = losses }
            let worst = zip(losses, reference).map { abs($0 - $1) / $1 }.max() ?? .infinity
            try require(worst < 1e-6, "\(name), sharding \(sharding): losses differ by \(worst)")
            try requireSame(network.parameters, on: world, "\(name), sharding \(sharding)")
        }
    }
}

private func requireEstimate(
    _ result: StepResult, _ memory: StepSample.Bytes, _ config: RunConfig, _ topology: Topology,
    _ label: String
) throws {
    let estimate = try Estimate(config: config, over: topology)
    try require(result.sentBytes, equals: estimate.traffic.bytesPerStep, "\(label): bytes sent")
    try require(memory.communication, equals: estimate.memory.communication, "\(label): communication")
    try require(memory.optimizer, equals: estimate.memory.optimizer, "\(label): optimizer")
    try require(memory.activations, equals: estimate.memory.activations, "\(label): activations")
    try require(memory.workspace, equals: estimate.memory.workspace, "\(label): workspace")
    try require(memory.data, equals: estimate.memory.data, "\(label): data")
}

private func requireSame(
    _ vector: Vector, on world: borrowing Communicator, _ label: String
) throws {
    var most = (0..<vector.count).map { vector.base[$0] }
    var least = most
    try most.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .max) }
    try least.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .min) }
    try require(most == least, "\(label): ranks differ in their parameters")
}
