import Configs
import Cost
import Foundation
import Ledger
import MessagePassing
import Training

/// A whole run of a small model, with evaluation and checkpoints, to see what a rank takes beside its arenas.
struct BareRun {
    /// A folder of our own.
    let folder: String
    let threads: Int
    let packing: Packing

    /// - Parameter hosts: of several, gradients fill the buckets that are under way at one time, since a network's buffers
    ///   grow with what is.
    private func config(ranks: Int, hosts: Int) throws -> RunConfig {
        let (layers, width) = hosts > 1 ? (4, 256) : (2, 32)
        let model = ModelConfig(
            numLayers: layers, dModel: width, numHeads: 2, dFF: 4 * width, contextLength: 32, vocabSize: 256)
        var train = TrainConfig(
            steps: 12, globalBatch: ranks, optimizer: OptimizerConfig(name: .adamw, learningRate: 1e-3))
        train.evaluateEvery = 4
        train.checkpointEvery = 4
        var config = RunConfig(name: "bare", model: model, data: DataConfig(path: text), train: train)
        config.parallel.threadsPerRank = threads
        return config
    }

    private var text: String { "\(folder)/text" }
    /// Runs read a profile; this one says nothing that matters.
    private var profile: String { "\(folder)/profile.json" }
    private static let textBytes = 40_000

    func prepare() throws {
        let line = "In the beginning was the word, and the word was counted.\n"
        let bytes = Data(String(repeating: line, count: Self.textBytes / line.utf8.count + 1).utf8)
        try bytes.prefix(Self.textBytes).write(to: URL(fileURLWithPath: text))
        try ProfileFile.write(.uniform(layouts: [(1, 1), (2, 1), (1, 2)]), to: profile)
    }

    /// The run by all ranks of `world`, on so many `hosts`. The result on every rank.
    func measure(hosts: Int, on world: borrowing Communicator) throws -> Profile.BareRank {
        let config = try config(ranks: world.size, hosts: hosts)
        let directory = "\(folder)/run-\(world.size)"
        let profile = try world.collectively { try ProfileFile.read(self.profile) }
        _ = try train(config, directory: directory, profile: profile, reports: false, on: world)
        return try world.collectively {
            try result(
                of: directory, config: config, ranks: world.size, earlier: PackingProbe.products)
        }
    }

    /// The same run by a single process that this one starts: a world of one has libraries and segments of its own.
    func measureAlone() throws -> Profile.BareRank {
        let config = try config(ranks: 1, hosts: 1)
        let directory = "\(folder)/alone-\(threads)"
        let file = "\(folder)/alone-\(threads).yaml"
        try Data(config.yaml().utf8).write(to: URL(fileURLWithPath: file))
        try ChildProcess.run(
            ["train", file, "--out", directory, "--profile", profile], threads: threads)
        return try result(of: directory, config: config, ranks: 1, earlier: [])
    }

    /// Peak memory beside its arenas, in bytes, of a process that generates with the run of `measureAlone`.
    func measureGeneration() throws -> Int {
        let answer = "\(folder)/generation-\(threads).json"
        guard FileManager.default.createFile(atPath: answer, contents: nil),
            let output = FileHandle(forWritingAtPath: answer)
        else { throw LockstepError(.cannotCreate, "\(answer): cannot be written") }
        try ChildProcess.run(
            [
                "generate", "\(folder)/alone-\(threads)", "--prompt", "In the beginning", "--tokens", "16",
                "--threads", "\(threads)", "--verify", "--json", "--no-profile",
            ], threads: threads, output: output)
        try output.close()
        let verification = try JSONFile.read(Verification.self, from: answer)
        guard let runtime = verification.results.first(where: { $0.term == "memory.runtime" })?.measured
        else {
            throw LockstepError(
                .inputOutput, "\(answer): the system does not tell how much memory a process takes")
        }
        return Int(runtime)
    }

    private func result(
        of directory: String, config: RunConfig, ranks: Int, earlier: [Product]
    ) throws -> Profile.BareRank {
        let run = try RunDirectory(existing: directory)
        var reader = try LedgerReader(path: run.ledger)
        var last: [Int: StepSample] = [:]
        while let line = try reader.next() { last[line.sample.rank] = line.sample }
        guard let first = last[0]?.bytes, last.count == ranks, first.residentPeak > 0 else {
            throw LockstepError(
                .inputOutput, "\(run.ledger): the system does not tell how much memory a rank takes")
        }
        let known = packing.bytes(of: config, microBatch: 1, besides: earlier)
        func bare(_ bytes: StepSample.Bytes) -> Int { bytes.residentPeak - bytes.arenas - known }
        let others = last.filter { $0.key > 0 }.map { bare($0.value.bytes) }
        // Of a world of one, what the coordinator does is not known apart: it is all of rank 0's.
        let usual = others.isEmpty ? bare(first) : others.max()!
        let file = (last[1]?.bytes ?? first).residentFile
        let shared = (last[1]?.bytes ?? first).residentShared
        return Profile.BareRank(
            anonymous: max(0, usual - file - shared), file: file, shared: shared,
            coordinator: max(0, bare(first) - usual))
    }
}
