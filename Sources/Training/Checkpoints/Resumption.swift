import Configs
import Foundation
import Ledger
import MessagePassing

/// Where a run that was asked to resume goes on.
struct Resumption {
    let run: RunDirectory
    /// nil when the run was interrupted before it saved anything, so that it starts over in its folder.
    let state: CheckpointState?
    /// Keeps other processes out of the run; on rank 0.
    let lock: RunLock?

    enum Found {
        /// There is no run yet.
        case nothing
        /// It has taken all its steps.
        case complete
        case run(Resumption)
    }

    /// Looks for the run in `directory` and prepares its folder for going on with `config`. Collective.
    ///
    /// Throws on every rank: `.badConfiguration` naming the key when `config` is of another run, `.badData` when no
    /// checkpoint is whole, `.inputMissing` when they are gone, `.cannotCreate` when another process trains in the run.
    static func find(
        _ config: RunConfig, directory: String, reports: Bool, on world: borrowing Communicator
    ) throws -> Found {
        func say(_ text: String) {
            if reports && world.rank == 0 { reportToStandardError("\(directory): \(text)") }
        }
        guard try rankZeroSays(try? RunDirectory(existing: directory), on: world) else {
            say("there is no run to resume yet; starting a new one")
            return .nothing
        }
        let run = try world.collectively { try RunDirectory(existing: directory) }
        let steps = config.train.steps
        let isComplete = try rankZeroSays(
            (try? RunStatus.read(from: run.status)).flatMap {
                $0.state == .completed && $0.step >= steps ? $0 : nil
            },
            on: world)
        if isComplete {
            say("the run has taken its \(steps) steps; there is nothing to resume")
            return .complete
        }
        let store = CheckpointStore(run)
        let lock = try world.collectively {
            guard world.rank == 0 else { return nil as RunLock? }
            try run.makeFolders()
            let lock = try RunLock(run)
            store.removeLeftovers()
            return lock
        }
        guard let state = try CheckpointLoader.newest(of: run, on: world) else {
            try world.collectively {
                guard world.rank == 0 else { return }
                try requireNeverSaved(run)
                try run.forget(after: 0)
            }
            say("the run was interrupted before its first checkpoint; starting it over")
            return .run(Resumption(run: run, state: nil, lock: lock))
        }
        try world.collectively {
            try state.requireSameRun(as: config)
            guard world.rank == 0 else { return }
            try state.requireSameCorpus(config.data)
        }
        let patience = config.train.patience
        let isHopeless = state.validation?.isHopeless(patience: patience) ?? false
        let isEvaluationLeft = state.step == steps && state.validation?.postponed != nil
        guard state.step < steps || isEvaluationLeft, !isHopeless else {
            try world.collectively {
                guard world.rank == 0, state.step == steps || isHopeless else { return }
                try close(run, state, steps: steps)
            }
            say(
                "the run has taken \(state.step) steps of \(steps)"
                    + (isHopeless ? " and ended early; a train.patience above \(patience) goes on" : "")
                    + "; there is nothing to resume")
            return .complete
        }
        if world.rank == 0 { warnOfChanges(run, state, config) }
        try world.collectively {
            guard world.rank == 0 else { return }
            try store.setAside(newerThan: state.step)
            // Without steps of its own it is verified by those before, if as many ranks took them.
            if isEvaluationLeft && state.ranks == world.size {
                try run.forget(after: state.step)
            } else {
                try run.goOn(ResumeRecord(step: state.step, ranks: world.size))
            }
        }
        say(
            "resuming behind step \(state.step) of \(steps), saved by \(state.ranks) rank(s)"
                + (state.validation?.postponed == nil ? "" : "; its evaluation comes first"))
        return .run(Resumption(run: run, state: state, lock: lock))
    }

    /// Whether rank 0 has a value; what the other ranks have does not count.
    private static func rankZeroSays(
        _ value: @autoclosure () -> Any?, on world: borrowing Communicator
    ) throws -> Bool {
        var answer = [Int32(world.rank == 0 && value() != nil ? 1 : 0)]
        try answer.withUnsafeMutableBufferPointer { try world.broadcast($0, from: 0) }
        return answer[0] == 1
    }

    /// Starting over must not be the answer to lost checkpoints.
    private static func requireNeverSaved(_ run: RunDirectory) throws {
        guard FileManager.default.fileExists(atPath: run.checkpointLog) else { return }
        var log = try CheckpointReader(path: run.checkpointLog)
        guard let record = try log.next() else { return }
        throw LockstepError(
            .inputMissing,
            "\(run.checkpoints): there is no checkpoint, but \(run.checkpointLog) tells of one of step \(record.step); "
                + "bring the folder back, or start a new run in another folder with --out")
    }

    /// The run ended between its last checkpoint and its last records.
    private static func close(_ run: RunDirectory, _ state: CheckpointState, steps: Int) throws {
        var status = RunStatus(state: .completed, step: state.step, steps: steps)
        status.exitCode = 0
        if let last = try? RunStatus.read(from: run.status) {
            (status.loss, status.validationLoss) = (last.loss, last.validationLoss)
        }
        try status.write(to: run.status)
        if let verification = try? Verification(of: run) {
            try JSONFile.write(verification, to: run.verification)
        }
    }

    private static func warnOfChanges(_ run: RunDirectory, _ state: CheckpointState, _ config: RunConfig) {
        if let old = try? RunConfig.load(path: run.config), old.train.steps != config.train.steps,
            config.train.schedule.name != .constant
        {
            reportToStandardError(
                "lockstep: warning: train.steps was \(old.train.steps) and is \(config.train.steps): from now on the "
                    + "learning rate follows the \(config.train.schedule.name.rawValue) schedule of the new length"
            )
        }
    }
}

extension CheckpointState {
    /// Throws `.badConfiguration` naming the first key that alters the run.
    func requireSameRun(as new: RunConfig) throws {
        let keys = new.bindingKeys
        // What only one of the two binds because only it is reproducible is not compared. A key that takes its default from
        // another has the longer name.
        let shared = Set(keys.keys).intersection(config.keys).sorted { ($0.count, $0) < ($1.count, $1) }
        for key in shared where keys[key] != config[key] {
            throw LockstepError(
                .badConfiguration,
                "\(key) is \(keys[key] ?? ""), but the run was trained with \(excerpt(config[key] ?? "")) up to step \(step), "
                    + "and a "
                    + "resumed run is the same run; set it back, or start a new run in another folder with --out"
            )
        }
        guard isInOrder(globalBatch: new.train.globalBatch) else {
            throw LockstepError(
                .badData,
                "\(CheckpointState.name) of step \(step): data_cursor \(dataCursor) is not that of the configuration; train "
                    + "again")
        }
    }

    /// Throws `.badData` when the corpus or the tokenizer is another one.
    func requireSameCorpus(_ data: DataConfig) throws {
        try requireSameTokenizer(try data.tokenizerDigest, data.tokenizer.name)
        let digest = try data.corpusDigest
        guard digest == corpusSHA256 else {
            throw LockstepError(
                .badData,
                "\(data.path): its content is not what the run was trained on up to step \(step) (SHA-256 begins with "
                    + "\(digest.prefix(16)), expected \(excerpt(corpusSHA256, limit: 16))); bring the corpus back, or name "
                    + "it in data.path")
        }
    }
}

extension CheckpointState {
    /// Throws `.badData` when the tokenizer that `name` names is not the run's.
    func requireSameTokenizer(_ digest: String, _ name: String) throws {
        guard digest == tokenizerSHA256 else {
            throw LockstepError(
                .badData,
                "\(name): this is not the tokenizer with which the run was trained up to step \(step) (SHA-256 begins with "
                    + "\(digest.prefix(16)), expected \(excerpt(tokenizerSHA256, limit: 16))); bring it back")
        }
    }
}

/// Says to other processes that somebody trains in a run, until it goes out of scope or the process ends.
final class RunLock {
    private let descriptor: Int32

    /// Throws `.cannotCreate` when another process holds the lock of `run`.
    init(_ run: RunDirectory) throws {
        descriptor = open(run.checkpoints, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw LockstepError(
                .cannotCreate, "\(run.checkpoints): cannot be opened: \(String(cString: strerror(errno)))")
        }
        // Any other failure is that of a file system without locks.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
            close(descriptor)
            throw LockstepError(
                .cannotCreate,
                "\(run.path): another process trains in this run; wait until it has ended, or end it")
        }
    }

    deinit { close(descriptor) }
}
