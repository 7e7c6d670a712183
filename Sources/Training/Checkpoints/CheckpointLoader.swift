import Configs
import Foundation
import Interchange
import Kernels
import Ledger
import MessagePassing
import Transformer

/// Which checkpoint of a run is meant.
public enum CheckpointChoice: Sendable, Equatable {
    /// The newest whole one.
    case newest
    /// That of the evaluation with the lowest validation loss.
    case best
    case step(Int)
}

/// Finds and reads checkpoints; what is read has been verified.
package enum CheckpointLoader {
    /// The newest checkpoint of `run` whose files are what was written, after a warning on standard error about the newer
    /// ones that are not.
    ///
    /// - Parameters:
    ///   - speaks: whether this process is the one that warns.
    /// - Throws: `.inputMissing` when the run has saved none, otherwise what is wrong with the newest when none is whole.
    static func newest(of run: RunDirectory, speaks: Bool) throws -> CheckpointState {
        let store = CheckpointStore(run)
        let steps = store.steps
        var failures: [LockstepError] = []
        for step in steps {
            do {
                let state = try verify(step, in: store) { _ in true }
                if speaks { warn(failures.map(\.description), using: step, store) }
                return state
            } catch let error as LockstepError {
                failures.append(error)
            }
        }
        throw none(failures.first, of: steps.count, store)
    }

    /// The checkpoint that `choice` means, as `newest` and `checkpoint` give it. Throws `.inputMissing` when the best one was
    /// not kept, too.
    static func chosen(
        _ choice: CheckpointChoice, of run: RunDirectory, speaks: Bool
    ) throws -> CheckpointState {
        if case .step(let step) = choice { return try checkpoint(step, of: run) }
        let newest = try newest(of: run, speaks: speaks)
        guard choice == .best else { return newest }
        guard let step = newest.validation?.bestStep else {
            throw LockstepError(
                .inputMissing,
                "\(run.path): the run had not been evaluated when its newest checkpoint was saved, so that none is the "
                    + "best; train with train.keep_best=true")
        }
        guard step == newest.step || CheckpointStore(run).steps.contains(step) else {
            throw LockstepError(
                .inputMissing,
                "\(run.path): the validation loss was lowest behind step \(step), of which there is no checkpoint; "
                    + "train with train.keep_best=true")
        }
        return step == newest.step ? newest : try checkpoint(step, of: run)
    }

    /// The checkpoint of step `step` of `run`, whose files are what was written. Throws `.inputMissing` when there is none,
    /// and what is wrong with it.
    static func checkpoint(_ step: Int, of run: RunDirectory) throws -> CheckpointState {
        let store = CheckpointStore(run)
        guard store.steps.contains(step) else {
            let others = store.steps.prefix(8).map(String.init).joined(separator: ", ")
            throw LockstepError(
                .inputMissing,
                "\(store.path): there is no checkpoint of step \(step); "
                    + (others.isEmpty ? "the run has saved none" : "there are those of \(others)"))
        }
        return try verify(step, in: store) { _ in true }
    }

    /// Step of the newest whole checkpoint of `run`.
    package static func newestWholeStep(of run: RunDirectory) throws -> Int {
        try newest(of: run, speaks: false).step
    }

    /// The same by all ranks together, each of which verifies some of the files; nil when the run has saved none.
    /// Collective; throws on every rank.
    static func newest(of run: RunDirectory, on world: borrowing Communicator) throws -> CheckpointState? {
        let store = CheckpointStore(run)
        let steps = try broadcast(store.steps, on: world)
        var failure: LockstepError?
        for step in steps {
            do {
                let state = try world.collectively {
                    try verify(step, in: store) { $0 % world.size == world.rank }
                }
                if world.rank == 0 { warn([], using: step, store) }
                return state
            } catch let shared as CollectiveFailure {
                guard let error = shared.underlying as? LockstepError else { continue }
                failure = failure ?? error
                if step != steps.last {
                    reportToStandardError("lockstep: warning: \(error); trying an older checkpoint")
                }
            }
        }
        guard !steps.isEmpty else { return nil }
        let (error, count) = (failure, steps.count)
        try world.collectively { if let error { throw none(error, of: count, store) } }
        return nil
    }

    /// Checks that the checkpoint of step `step` is what was written, of its files those whose number `checks` chooses.
    private static func verify(_ step: Int, in store: CheckpointStore, checks: (Int) -> Bool) throws
        -> CheckpointState
    {
        let folder = store.folder(step)
        let manifest = try Manifest.read(from: folder, step: step)
        for (index, file) in manifest.files.enumerated()
        where checks(index) || file.name == CheckpointState.name {
            try Manifest.verify(file, in: folder)
        }
        let state = try CheckpointState.read(from: folder, step: step)
        try manifest.requireFiles(of: state, in: folder)
        return state
    }

    /// Reads all that the checkpoint of step `state.step` holds for this rank, whatever the number of ranks that saved it.
    static func load(
        _ state: CheckpointState, of run: RunDirectory, into network: LanguageModel, _ step: TrainStep
    ) throws {
        try loadModel(state, of: run, into: network)
        let folder = CheckpointStore(run).folder(state.step)
        guard state.optimizerState.count == step.optimizerState.slots else {
            throw LockstepError(
                .badData,
                "\(folder)/\(CheckpointState.name): 'optimizer_state' names \(state.optimizerState.count) numbers of each "
                    + "parameter; the configuration's optimizer keeps \(step.optimizerState.slots)")
        }
        try step.optimizerState.load(
            from: folder, names: state.optimizerState,
            parameters: state.parameters, ranks: state.ranks)
        if step.lossScale != nil { step.lossScale = state.lossScale ?? LossScale() }
        step.goOn(after: state.step, dataCursor: state.dataCursor)
    }

    /// Reads the parameters of the checkpoint of step `state.step` into `network`. Throws `.badData` naming file and
    /// tensor when they are not those of this model, or not finite.
    static func loadModel(_ state: CheckpointState, of run: RunDirectory, into network: LanguageModel)
        throws
    {
        let folder = CheckpointStore(run).folder(state.step)
        let layout = network.layout
        guard state.parameters == layout.count else {
            throw LockstepError(
                .badData,
                "\(folder)/\(CheckpointState.name): expected \(layout.count) parameters, as \(run.config) describes the "
                    + "model, found \(state.parameters); bring the configuration back")
        }
        try read("\(folder)/\(CheckpointFile.modelName)", layout: layout, into: network.parameters)
    }

    /// Reads all tensors of `layout` from the file at `path` into `parameters`. Throws `.inputMissing`, `.badData` that
    /// names file and tensor.
    package static func read(_ path: String, layout: ParameterLayout, into parameters: Vector) throws {
        func bad(_ text: String) -> LockstepError { LockstepError(.badData, "\(path): \(text)") }
        let file = try TensorFileReader(path, mostTensors: layout.tensors.count)
        for tensor in layout.tensors {
            guard let entry = file.tensors[tensor.name] else { throw bad("tensor \(tensor.name) is missing") }
            guard entry.shape == tensor.shape else {
                throw bad(
                    "tensor \(tensor.name) has the shape \(excerpt("\(entry.shape)")); expected \(tensor.shape)"
                )
            }
            let values = parameters.slice(tensor.range)
            try file.read(entry.bytes, into: UnsafeMutableRawPointer(values.base))
            guard Reductions.sumOfSquares(values).isFinite else {
                throw bad("tensor \(tensor.name) holds numbers that are not finite")
            }
        }
        guard file.tensors.count == layout.tensors.count else {
            let extra = Set(file.tensors.keys).subtracting(layout.tensors.map(\.name)).sorted().prefix(8).map
            { excerpt($0) }
            throw bad("tensors that this model does not have: \(extra.joined(separator: ", "))")
        }
    }

    private static func broadcast(_ steps: [Int], on world: borrowing Communicator) throws -> [Int] {
        var count = [Int64(steps.count)]
        try count.withUnsafeMutableBufferPointer { try world.broadcast($0, from: 0) }
        var all = [Int64](repeating: 0, count: Int(count[0]))
        if world.rank == 0 { all = steps.map(Int64.init) }
        guard !all.isEmpty else { return [] }
        try all.withUnsafeMutableBufferPointer { try world.broadcast($0, from: 0) }
        return all.map { Int($0) }
    }

    private static func warn(_ failures: [String], using step: Int, _ store: CheckpointStore) {
        let found = CheckpointStore.name(step)
        for failure in failures {
            reportToStandardError("lockstep: warning: \(failure); using \(found) instead")
        }
        if store.latestStep == nil {
            reportToStandardError(
                "lockstep: warning: \(store.latest): expected the name of a checkpoint beside it; using \(found)"
            )
        }
    }

    /// What is said when there is no whole checkpoint among `count`.
    private static func none(_ failure: LockstepError?, of count: Int, _ store: CheckpointStore)
        -> LockstepError
    {
        guard let failure else {
            return LockstepError(
                .inputMissing,
                "\(store.latest): there is no checkpoint; `lockstep train` saves one at the end of a run and every "
                    + "train.checkpoint_every steps")
        }
        let others =
            count > 1
            ? "; none of the \(count - 1) older ones is whole either" : "; the run has no other checkpoint"
        return LockstepError(
            failure.status, "\(failure.description)\(others): bring the file back, or train again")
    }
}
