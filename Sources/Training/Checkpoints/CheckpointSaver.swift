import Configs
import Foundation
import Interchange
import Kernels
import Ledger
import MessagePassing
import Transformer

/// Saves a run's checkpoints, all ranks together: each writes its files in the background, and when all are done rank 0
/// publishes the checkpoint.
///
/// Nothing is copied: the next step computes its gradients meanwhile, and its update waits. So no more steps than lie
/// between two checkpoints are ever done beyond the last one that is in its place.
final class CheckpointSaver {
    private let store: CheckpointStore
    private let network: LanguageModel
    private let step: TrainStep
    private let config: RunConfig
    private let heartbeat: Heartbeat
    /// On rank 0, all of the state but the step.
    private let state: CheckpointState?
    private var pending: Pending?

    /// A checkpoint that is being written.
    private struct Pending {
        let step: Int
        let validation: ValidationHistory
        let folder: String
        let write: BackgroundWrite
        /// Until the thread was started, in seconds.
        let preparation: Double
    }

    init(
        _ config: RunConfig, run: RunDirectory, network: LanguageModel, step: TrainStep,
        origin: CorpusOrigin, heartbeat: Heartbeat, on world: borrowing Communicator
    ) {
        self.config = config
        self.network = network
        self.step = step
        self.heartbeat = heartbeat
        store = CheckpointStore(run)
        state =
            world.rank > 0
            ? nil
            : CheckpointState(
                step: 0, dataCursor: 0, seed: config.train.seed, parameters: network.layout.count,
                optimizer: config.train.optimizer.name.rawValue,
                optimizerState: config.train.optimizer.stateNames, config: config.bindingKeys,
                corpusSHA256: origin.corpusSHA256, tokenizerSHA256: origin.tokenizerSHA256, ranks: world.size,
                threadsPerRank: config.parallel.threadsPerRank, blasCore: OpenBLAS.coreName)
    }

    deinit {
        // The thread reads parameters and optimizer.
        _ = pending?.write.wait()
    }

    /// Whether a checkpoint is being written.
    var isSaving: Bool { pending != nil }

    /// Begins to save what the run is behind step `number`, which stays so until `finish`. Collective; throws on every rank
    /// when there is no room on the disk.
    func begin(
        after number: Int, _ validation: ValidationHistory, on world: borrowing Communicator
    ) throws {
        precondition(pending == nil, "a checkpoint is still being written")
        let started = ContinuousClock.now
        heartbeat.enter(.checkpoint)
        let files = try self.files(on: world)
        let folder = try makeFolder(number, bytes: files.reduce(0) { $0 + $1.bytes }, on: world)
        pending = Pending(
            step: number, validation: validation, folder: folder,
            write: BackgroundWrite(
                files, into: folder, affinity: network.team.affinity, heartbeat: heartbeat),
            preparation: (ContinuousClock.now - started) / .seconds(1))
    }

    /// Waits for the checkpoint under way, if there is one, and publishes it. Collective; throws on every rank when it could
    /// not be written, and leaves nothing of it behind.
    func finish(ledger: RunLedger, on world: borrowing Communicator) throws {
        guard let pending else { return }
        let started = ContinuousClock.now
        heartbeat.enter(.checkpoint)
        let outcome = pending.write.wait()
        let written = ContinuousClock.now
        self.pending = nil
        do {
            let files = try world.collectively { try outcome.files.get() }
            let all = try gather(files, on: world)
            // What the checkpoint has behind it must not be lost in a buffer.
            ledger.flush()
            try world.collectively { if world.rank == 0 { try publish(pending, all) } }
            let end = ContinuousClock.now
            ledger.record(
                CheckpointRecord(
                    step: pending.step, bytes: store.bytes(of: pending.step),
                    seconds: pending.preparation + outcome.seconds + (end - written) / .seconds(1),
                    waitedSeconds: pending.preparation + (end - started) / .seconds(1)))
        } catch {
            if world.rank == 0 { try? FileManager.default.removeItem(atPath: pending.folder) }
            throw error
        }
    }

    private func files(on world: borrowing Communicator) throws -> [CheckpointFile] {
        let names = config.train.optimizer.stateNames
        let model = world.rank == 0 ? [try CheckpointFile.model(network)] : []
        guard !names.isEmpty else { return model }
        return try model + [
            .optimizer(
                step.optimizerState, names: names, ranges: step.savedRanges, rank: world.rank,
                ranks: world.size)
        ]
    }

    /// Rank 0 makes the folder in which the checkpoint grows, if there is room for all ranks' files. Its path.
    private func makeFolder(_ number: Int, bytes: Int, on world: borrowing Communicator) throws -> String {
        var mark = Array(UUID().uuidString.utf8)
        try mark.withUnsafeMutableBufferPointer { try world.broadcast($0, from: 0) }
        var total = [Int64(bytes)]
        try total.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .sum) }
        let folder = store.temporaryFolder(number, mark: String(decoding: mark, as: UTF8.self))
        let needed = Int(total[0])
        try world.collectively {
            guard world.rank == 0 else { return }
            try DiskSpace.require(needed, at: store.path)
            try FileWriter.makeDirectory(folder)
        }
        return folder
    }

    /// The lines of the manifest of all ranks, on rank 0.
    private func gather(_ own: [Manifest.File], on world: borrowing Communicator) throws -> [Manifest.File] {
        // Every rank's last file is its part of the optimizer, if there is one: its size, then its digest in digits.
        let width = 8 + 2 * Digest.bytes
        guard let last = own.last, !config.train.optimizer.stateNames.isEmpty else { return own }
        let row = withUnsafeBytes(of: UInt64(last.bytes).littleEndian) { Array($0) } + Array(last.sha256.utf8)
        var rows = [UInt8](repeating: 0, count: world.rank == 0 ? width * world.size : 0)
        try row.withUnsafeBufferPointer { row in
            try rows.withUnsafeMutableBufferPointer {
                try world.gather(row, into: world.rank == 0 ? $0 : nil, root: 0)
            }
        }
        guard world.rank == 0 else { return [] }
        return own
            + (1..<world.size).map { rank in
                let row = rows[rank * width..<(rank + 1) * width]
                let bytes = row.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                return Manifest.File(
                    name: OptimizerState.fileName(rank: rank, ranks: world.size), bytes: Int(bytes),
                    sha256: String(decoding: row.dropFirst(8), as: UTF8.self))
            }
    }

    private func publish(_ pending: Pending, _ files: [Manifest.File]) throws {
        guard var state else { return }
        state.step = pending.step
        state.dataCursor = step.dataCursor(after: pending.step)
        state.validation = pending.validation
        // Until this is published there is no other update.
        state.lossScale = step.lossScale
        let stateFile = try CheckpointFile.write(
            try JSONFile.bytes(of: state), as: CheckpointState.name, into: pending.folder)
        heartbeat.sign()
        let manifest = try Manifest(step: pending.step, files: [stateFile] + files)
        _ = try CheckpointFile.write(try manifest.encoded(), as: Manifest.name, into: pending.folder)
        heartbeat.sign()
        try store.publish(pending.folder, step: pending.step) { heartbeat.sign() }
        store.removeOld(
            keep: config.train.keepCheckpoints, every: config.train.keepCheckpointEvery,
            best: config.train.keepBest ? pending.validation.bestStep : nil)
    }
}
