import AllocationCounter
import Configs
import Kernels
import Ledger
import MessagePassing
import Training

/// After the first two, training steps ask for no memory, with the optimizer whole and sharded, on one thread and two, in
/// fp32 and in tiles: not this program, and not the Swift runtime. What MPI's own library allocates is shown and not
/// judged.
func steadyStepAllocatesNothing(_ world: borrowing Communicator) throws {
    let problems = try [false, true].map { try SmallProblem(vocabSize: 5300, pairs: $0) }
    for problem in problems { try steadyStep(problem, world) }
}

private func steadyStep(_ problem: SmallProblem, _ world: borrowing Communicator) throws {
    let topology = try Topology(.auto, world: world)
    let medium = TileMode(
        precision: .medium, instructions: try TileSupport.here(environment: [:]).instructions)
    let cases: [(ModelConfig.AttentionMode, Bool, Int, TileMode?, PrecisionConfig.ActivationFormat)] = [
        (.recomputed, false, 1, nil, .fp32), (.stored, true, 1, nil, .fp32),
        (.recomputed, false, 2, nil, .fp32), (.stored, true, 2, nil, .fp32),
        (.recomputed, false, 1, medium, .fp32), (.stored, true, 2, medium, .fp32),
        (.recomputed, false, 1, nil, .bf16), (.stored, true, 2, medium, .bf16),
    ]
    for (attention, isSharded, threads, tiles, activations) in cases {
        var config = problem.config
        let family = config.model.family.rawValue
        config.model.attention = attention
        if attention == .stored { config.model.positions = .rotary }
        config.parallel.optimizerSharding = isSharded
        config.parallel.threadsPerRank = threads
        config.precision.activations = activations
        let (step, _) = try problem.step(config, tiles: tiles, over: topology)
        var clock = PhaseClock()
        for number in 1...2 { _ = try step.run(number, clock: &clock) }
        allocation_counter_start()
        for number in 3...6 { _ = try step.run(number, clock: &clock) }
        allocation_counter_stop()
        let first = String(cString: allocation_counter_first_caller())
        try require(
            allocation_counter_ours() == 0,
            "\(family), \(attention), \(threads) threads, \(tiles == nil ? "fp32" : "tiles"), \(activations): four steps made \(allocation_counter_ours()) allocations, the first in \(first)"
        )
        if world.rank == 0 {
            print(
                "\(family), \(attention): 0 allocations, and \(allocation_counter_foreign()) of the MPI library"
            )
        }
    }
}

/// The counter itself counts.
func allocationsAreCounted(_ world: borrowing Communicator) throws {
    allocation_counter_start()
    let buffer = try AlignedBuffer<Float>(count: 100)
    let list = (0..<world.size + 100).map { $0 * 3 }
    allocation_counter_stop()
    try require(
        allocation_counter_ours() >= 2 && buffer.count + list.count >= 200,
        "two allocations were counted as \(allocation_counter_ours())")
}
