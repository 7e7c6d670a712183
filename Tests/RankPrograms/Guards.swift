import Configs
import Foundation
import Kernels
import Ledger
import MessagePassing
import Training
import Transformer

/// A step that is skipped leaves parameters and optimizer as they were, whole and sharded: those behind the next step are
/// the same as without it.
func skippedStep(_ world: borrowing Communicator) throws {
    let problem = try SmallProblem(vocabSize: 300)
    let topology = try Topology(.auto, world: world)
    for isSharded in [false, true] {
        var config = problem.config
        config.train.onNonFinite = .skip
        config.parallel.optimizerSharding = isSharded
        let (step, network) = try problem.step(config, over: topology)
        let (twin, twinDecoder) = try problem.step(config, over: topology)
        for number in [1, 2, 4] { _ = try run(twin, number) }
        for number in 1...2 { _ = try run(step, number) }

        let poisoned = network.layout.count / 2
        let value = network.parameters[poisoned]
        network.parameters[poisoned] = .nan
        let before = bits(network.parameters)
        let result = try run(step, 3)
        try require(result.skipped?.status == .nonFinite, "sharding \(isSharded): step 3 was not skipped")
        try require(bits(network.parameters) == before, "sharding \(isSharded): the parameters were touched")
        network.parameters[poisoned] = value

        try require(try run(step, 4).skipped == nil, "sharding \(isSharded): step 4 was skipped")
        try require(
            bits(network.parameters) == bits(twinDecoder.parameters),
            "sharding \(isSharded): the optimizer was touched")
    }
}

/// A run that goes on from another position takes the samples there, with the step's own number.
func passedOverSamples(_ world: borrowing Communicator) throws {
    let problem = try SmallProblem(vocabSize: 300)
    let topology = try Topology(.auto, world: world)
    var config = problem.config
    config.model.dropout = 0
    let (step, _) = try problem.step(config, over: topology)
    let (twin, _) = try problem.step(config, over: topology)
    step.goOn(after: 0, dataCursor: 2 * config.train.globalBatch)
    let (moved, third) = (try run(step, 1), try run(twin, 3))
    try require(moved.loss == third.loss, "\(moved.loss) instead of \(third.loss)")
    try require(try run(step, 2).loss != third.loss, "the samples come again")
}

/// A bit flipped in any tensor of any rank is found, and who and what is named.
func replicaCheck(_ world: borrowing Communicator) throws {
    let problem = try SmallProblem(vocabSize: 300)
    let (_, network) = try problem.step(problem.config, over: Topology(.auto, world: world))
    let hosts = (0..<world.size).map { "host\($0)" }
    let replicas = try ReplicaCheck(network, every: 1)
    try replicas.check(after: 1, hosts: hosts, on: world)
    for (index, tensor) in network.layout.tensors.enumerated() {
        let rank = index % world.size
        let element = tensor.range.lowerBound + (index * 7919) % tensor.range.count
        let value = network.parameters[element]
        if world.rank == rank { network.parameters[element] = flipped(value, bit: index % 32) }
        let error = try requireThrown(LockstepError.self, "a check of \(tensor.name)") {
            try replicas.check(after: 2, hosts: hosts, on: world)
        }
        try require(error.status == .replicasDiverged, "\(error)")
        try require(error.description.contains(tensor.name), "\(error) does not name \(tensor.name)")
        let named = world.size > 2 ? "rank \(rank) (host\(rank)) has" : "rank 0 against rank 1"
        try require(error.description.contains(named), "\(error) does not name \(named)")
        network.parameters[element] = value
    }
    try replicas.check(after: 3, hosts: hosts, on: world)
}

/// A whole run in whose last rank a bit flips before the first step. Takes its configuration and folder.
func flippedBit(_ world: borrowing Communicator) throws {
    let isLast = world.rank == world.size - 1
    try trainArguments(world) { trainer in
        if isLast { trainer.network.parameters[5] = flipped(trainer.network.parameters[5], bit: 20) }
    }
}

/// A whole run to whose model the byte `~` is poison: its embedding is finite, and nothing behind it. Takes its
/// configuration and folder.
func poisonedByte(_ world: borrowing Communicator) throws {
    try trainArguments(world) { trainer in
        let embeddings = trainer.network.layout.tensors.first { $0.name == "token_embedding.weight" }!
        let width = embeddings.shape[1]
        let first = embeddings.range.lowerBound + Int(UInt8(ascii: "~")) * width
        for element in first..<first + width { trainer.network.parameters[element] = 3e38 }
    }
}

/// Before the first step: what differs is told, with who has what.
func comparison(_ world: borrowing Communicator) throws {
    var same = RankComparison()
    same.add("the colour", "red")
    same.add("the corpus", fingerprint: 17)
    try same.check("", on: world)

    var different = RankComparison()
    different.add("the colour", "red")
    different.add("the shape", world.rank == 1 ? "round" : "square")
    let failure = try requireThrown(CollectiveFailure.self, "a comparison") {
        try different.check("Mend it.", on: world)
    }
    try require(failure.rank == 0, "\(failure)")
    guard world.rank == 0 else { return }
    let text = "\(failure)"
    try require(!text.contains("colour") && text.hasSuffix("Mend it."), text)
    try require(text.contains("the shape differs: square on rank") && text.contains("round on rank 1"), text)
}

/// The run that the program's arguments describe, with what `change` does to it before the first step.
func trainArguments(_ world: borrowing Communicator, change: (Trainer) -> Void) throws {
    let config = try RunConfig.load(
        path: CommandLine.arguments[2], overrides: Array(CommandLine.arguments.dropFirst(4)))
    let path = CommandLine.arguments[3]
    if world.rank == 0 { _ = try NewRunDirectory(path: path).keep() }
    try world.barrier()
    let trainer = try Trainer(
        config, tiles: nil, run: RunDirectory(existing: path), resuming: nil,
        topology: Topology(.auto, world: world),
        team: ThreadTeam(threads: config.parallel.threadsPerRank), profile: nil, speed: nil, reports: false,
        heedsSignals: false, on: world)
    change(trainer)
    _ = try trainer.run(on: world)
}

func run(_ step: TrainStep, _ number: Int) throws -> StepResult {
    var clock = PhaseClock()
    return try step.run(number, clock: &clock)
}

func bits(_ vector: Vector) -> [UInt32] { (0..<vector.count).map { vector.base[$0].bitPattern } }

private func flipped(_ value: Float, bit: Int) -> Float {
    Float(bitPattern: value.bitPattern ^ (1 << UInt32(bit)))
}
