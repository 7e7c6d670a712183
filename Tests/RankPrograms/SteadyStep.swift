import AllocationCounter
import Configs
import Corpus
import Foundation
import Kernels
import Ledger
import MessagePassing
import Training
import Transformer

/// After the first two, training steps ask for no memory: not this program, and not the Swift runtime. What MPI's own
/// library allocates for its nonblocking reductions is shown and not judged.
func steadyStepAllocatesNothing(_ world: borrowing Communicator) throws {
    let folder = NSTemporaryDirectory() + "lockstep-steady-\(getpid())"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let text = "\(folder)/text.txt"
    try String(repeating: "to be or not to be, that is the question. ", count: 200)
        .write(toFile: text, atomically: true, encoding: .utf8)

    var config = steadyConfig(text: text)
    for attention in ModelConfig.AttentionMode.allCases {
        config.model.attention = attention
        try PreparedCorpus.prepare(
            data: config.data, vocabSize: config.model.vocabSize,
            contextLength: config.model.contextLength, directory: folder)
        let corpus = try PreparedCorpus.open(
            data: config.data, contextLength: config.model.contextLength, seed: 1, directory: folder)
        let decoder = try Transformer.Decoder(
            config: config.model, microBatch: 2, purpose: .training, backend: OpenBLAS(threads: 1))
        decoder.initialize(seed: 1)
        let step = try TrainStep(
            config: config, decoder: decoder, samples: corpus.train,
            buffers: BatchBuffers(microBatch: 2, length: config.model.contextLength), rank: world.rank,
            ranks: world.size)
        var clock = PhaseClock()
        for number in 1...2 { _ = try step.run(number, on: world, clock: &clock) }
        allocation_counter_start()
        for number in 3...6 { _ = try step.run(number, on: world, clock: &clock) }
        allocation_counter_stop()
        let first = String(cString: allocation_counter_first_caller())
        try require(
            allocation_counter_ours() == 0,
            "\(attention): four steps made \(allocation_counter_ours()) allocations, the first in \(first)")
        if world.rank == 0 {
            print("\(attention): 0 allocations, and \(allocation_counter_foreign()) of the MPI library")
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

private func steadyConfig(text: String) -> RunConfig {
    var model = ModelConfig(
        numLayers: 2, dModel: 48, numHeads: 3, dFF: 80, contextLength: 24, vocabSize: 256)
    model.dropout = 0.1
    var data = DataConfig(path: text)
    data.validationFraction = 0.1
    return RunConfig(
        name: "steady", model: model, data: data,
        train: TrainConfig(
            steps: 6, globalBatch: 48, optimizer: OptimizerConfig(name: .adamw, learningRate: 1e-3)))
}
