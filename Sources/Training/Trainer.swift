import CTiles
import Configs
import Corpus
import Cost
import Foundation
import Interchange
import Kernels
import Ledger
import MessagePassing
import Transformer

/// One rank's part in a run: the loop over steps, evaluations and checkpoints.
package final class Trainer {
    private let config: RunConfig
    private let run: RunDirectory
    package let network: LanguageModel
    private let evaluator: Evaluator
    /// Of the validation split's targets, on rank 0; nil when the tokens are not those of the tokenizer.
    private let bytesPerToken: Double?
    package let step: TrainStep
    private let ledger: RunLedger
    private let checkpoints: CheckpointSaver
    /// Steps that the run had behind it when this process joined it.
    private let doneSteps: Int
    /// Whether as many ranks took them.
    private let isOfAsManyRanks: Bool
    private let supervision: Supervision
    private let replicas: ReplicaCheck
    private var validation: ValidationHistory
    /// As it was when the run began or went on.
    private var atStart: ValidationHistory
    private var skips = SkippedUpdates()
    /// The checkpoint that the run has gone back to last, and how often in a row.
    private var rollbacks = (step: 0, count: 0)
    private static let mostRollbacks = 3
    /// nil without a profile, as there is nothing to set the speed beside.
    private var speed: SpeedMeter?
    private let reports: Bool

    /// Reads the corpus, allocates all that training needs, and loads the checkpoint to go on from. Collective.
    package init(
        _ config: RunConfig, tiles: TileMode?, run: RunDirectory, resuming state: CheckpointState?,
        topology: Topology, team: ThreadTeam, profile: Profile?, speed: SpeedMeter?, reports: Bool,
        heedsSignals: Bool, on world: borrowing Communicator
    ) throws {
        let model = config.model
        let (corpus, origin) = try PreparedCorpus.open(config, run: run, reports: reports, on: world)
        let ledger = try RunLedger(
            config: config, run: run, doneSteps: state?.step ?? 0, topology: topology, reports: reports,
            on: world)
        let supervision = Supervision(
            config, run: run, host: ledger.hosts[world.rank], affinity: team.affinity,
            heedsSignals: heedsSignals, on: world)
        let estimate = try world.collectively {
            let estimate = try Estimate(
                config: config, over: topology, profile: profile, corpusTokens: corpus.tokenCount)
            if world.rank == 0 {
                try JSONFile.write(estimate, to: run.estimate)
                if reports { reportToStandardError(estimate.summary) }
            }
            return estimate
        }
        // What preparing took is given back, and the peak is that of the run.
        lockstep_trim_heap()
        MemoryMeter().resetPeak()
        let (network, buffers, step, checkpoints) = try world.collectively {
            let network = try LanguageModel(
                config: model, microBatch: estimate.microBatch, purpose: .training, backend: OpenBLAS(),
                isShared: world.size > 1, team: team, tiles: tiles,
                activations: HalfFormat(config.precision.activations))
            if let folder = model.from, state == nil {
                try PretrainedModel.load(
                    folder, config: model, layout: network.layout, into: network.parameters)
            } else {
                network.initialize(seed: config.train.seed)
            }
            let buffers = try BatchBuffers(config, microBatch: estimate.microBatch)
            let step = try TrainStep(
                config: config, network: network, samples: corpus.train, buffers: buffers,
                topology: topology)
            let checkpoints = CheckpointSaver(
                config, run: run, network: network, step: step, origin: origin,
                heartbeat: supervision.heartbeat, on: world)
            if let state { try CheckpointLoader.load(state, of: run, into: network, step) }
            return (network, buffers, step, checkpoints)
        }
        try Preflight.compare(network.parameters, on: world)
        self.config = config
        self.run = run
        self.supervision = supervision
        self.network = network
        evaluator = Evaluator(samples: corpus.validation, buffers: buffers)
        bytesPerToken = origin.bytesPerToken
        self.step = step
        replicas = try ReplicaCheck(network, every: config.parallel.replicaCheckEvery)
        self.ledger = ledger
        self.checkpoints = checkpoints
        doneSteps = state?.step ?? 0
        isOfAsManyRanks = state?.ranks == world.size
        validation = state?.validation ?? ValidationHistory()
        atStart = validation
        self.speed = try speed?.paced(for: estimate.time.step, on: world)
        self.reports = reports
    }

    /// The run, from the first step to the verification.
    package func run(on world: borrowing Communicator) throws -> RunOutcome {
        defer { supervision.end() }
        var number = doneSteps
        do {
            try speed?.sampleAtEitherEnd()
            if let step = validation.postponed {
                supervision.heartbeat.begin(step: step)
                try evaluate(after: step, on: world)
                atStart = validation
                if let signal = try stopRequest(after: step, on: world) {
                    try stop(after: step, signal: signal, on: world)
                    return .preempted
                }
            }
            while number < config.train.steps && !endsEarly {
                number += 1
                do {
                    try take(number, on: world)
                } catch let error as LockstepError
                    where error.status == .nonFinite && config.train.onNonFinite == .rollback
                {
                    number = try rollBack(from: number, error, on: world)
                    continue
                }
                if let signal = try stopRequest(after: number, on: world) {
                    try stop(after: number, signal: signal, on: world)
                    return .preempted
                }
            }
            try checkpoints.finish(ledger: ledger, on: world)
        } catch let error as LockstepError where [.nonFinite, .replicasDiverged].contains(error.status) {
            // Found by all ranks at once, so that all of them are here.
            // What was saved before stays valid, whether or not it can be written now.
            try? checkpoints.finish(ledger: ledger, on: world)
            ledger.fail(error, exitCode: error.status.rawValue)
            try world.collectively { throw error }
        } catch let failure as CollectiveFailure {
            ledger.fail(failure, exitCode: failure.exitCode)
            throw failure
        }
        try ledger.recordMemory(on: world)
        try speed?.sampleAtEitherEnd()
        if let speed {
            ledger.record(try speed.speeds(on: world))
        }
        try world.collectively {
            try ledger.complete(early: number < config.train.steps ? earlyEnd(number) : nil)
            if world.rank == 0, number > doneSteps || isOfAsManyRanks { try run.conclude(reports: reports) }
        }
        return .completed
    }

    /// Step `number`, and all that happens behind it.
    private func take(_ number: Int, on world: borrowing Communicator) throws {
        let heartbeat = supervision.heartbeat
        heartbeat.begin(step: number)
        var clock = PhaseClock(heartbeat)
        let result = try step.run(number, clock: &clock, atPauses: { speed?.pause() }) {
            try checkpoints.finish(ledger: ledger, on: world)
        }
        let seconds = clock.finish()
        let speedOfStep = try speed?.sample(after: number)
        if replicas.isDue(number) { try compareReplicas(after: number, on: world) }
        heartbeat.add(sentBytes: result.sentBytes)
        var isBest = false
        if isDue(number, every: config.train.evaluateEvery) {
            isBest = try evaluate(after: number, on: world)
        }
        if isDue(number, every: config.train.checkpointEvery) || endsEarly
            || (isBest && config.train.keepBest)
        {
            try beginSaving(after: number, on: world)
        }
        // Behind these, so that the sample's peak memory has seen all that the step brought with it.
        heartbeat.enter(.ledger)
        try ledger.record(number, result, seconds, speedOfStep, memory: step.memory, on: world)
        try skips.note(result, after: number, in: ledger)
    }

    /// Goes back to the newest whole checkpoint, because of what step `number` has come to, and passes over the samples that
    /// led there. Returns the step behind which the run goes on. Collective; throws `.nonFinite` on every rank when there is
    /// no checkpoint yet, and when going back has not helped.
    private func rollBack(
        from number: Int, _ reason: LockstepError, on world: borrowing Communicator
    ) throws -> Int {
        supervision.heartbeat.enter(.checkpoint)
        guard let state = try CheckpointLoader.newest(of: run, on: world) else {
            throw LockstepError(
                .nonFinite,
                "\(reason) There is no checkpoint yet to go back to (train.on_non_finite: rollback).")
        }
        rollbacks = (state.step, state.step == rollbacks.step ? rollbacks.count + 1 : 1)
        guard rollbacks.count <= Self.mostRollbacks else {
            throw LockstepError(
                .nonFinite,
                "\(reason) The run has gone back to the checkpoint of step \(state.step) \(Self.mostRollbacks) times, and "
                    + "ends.")
        }
        let dataCursor = step.dataCursor(after: number)
        try world.collectively {
            if world.rank == 0 { try CheckpointStore(run).setAside(newerThan: state.step) }
            try CheckpointLoader.load(state, of: run, into: network, step)
        }
        step.goOn(after: state.step, dataCursor: dataCursor)
        // The checkpoint that the run was resumed from may leave an evaluation to it.
        validation = state.step == doneSteps ? atStart : state.validation ?? ValidationHistory()
        ledger.recordRollback(
            ResumeRecord(step: state.step, ranks: world.size, rolledBackFrom: number),
            "\(reason) Back to the checkpoint of step \(state.step), and on with the samples from position "
                + "\(dataCursor) (train.on_non_finite: rollback)")
        return state.step
    }

    private func compareReplicas(after number: Int, on world: borrowing Communicator) throws {
        supervision.heartbeat.enter(.replicaCheck)
        try replicas.check(after: number, hosts: ledger.hosts, on: world)
    }

    /// The signal by which the run was asked to stop behind step `number`, when something is left to do. Collective.
    private func stopRequest(after number: Int, on world: borrowing Communicator) throws -> Int32? {
        let isLast = number == config.train.steps || endsEarly
        guard !isLast || validation.postponed != nil else { return nil }
        return try supervision.stopRequest(on: world)
    }

    /// Ends the run behind step `number` so that it can be resumed.
    private func stop(after number: Int, signal: Int32, on world: borrowing Communicator) throws {
        if !checkpoints.isSaving, number > doneSteps { try beginSaving(after: number, on: world) }
        try checkpoints.finish(ledger: ledger, on: world)
        try world.collectively {
            try ledger.preempt(
                "stopped by \(StopSignals.name(signal)) with the checkpoint of step \(number) saved; "
                    + "`lockstep train` with --resume goes on from there")
        }
    }

    /// Whether something that happens every `interval` steps, and after the last one, happens after step `number`.
    private func isDue(_ number: Int, every interval: Int) -> Bool {
        number == config.train.steps || (interval > 0 && number.isMultiple(of: interval))
    }

    /// Whether evaluations no longer improve, so that the run ends before its last step; the same on all ranks, as the
    /// losses are.
    private var endsEarly: Bool { validation.isHopeless(patience: config.train.patience) }

    /// What is said of a run that ends behind step `number`.
    private func earlyEnd(_ number: Int) -> String {
        let kept = config.train.keepBest ? ", whose checkpoint is kept" : ""
        return String(
            format:
                "ended early behind step %ld of %ld: %ld evaluations in a row (train.patience) without a validation "
                + "loss below the %.4f of step %ld",
            number, config.train.steps, config.train.patience, validation.bestLoss ?? .nan,
            validation.bestStep ?? 0) + kept
    }

    /// Returns whether the validation loss is lower than all before. The evaluation is postponed when the run is asked to stop.
    @discardableResult
    private func evaluate(after number: Int, on world: borrowing Communicator) throws -> Bool {
        let start = ContinuousClock.now
        supervision.heartbeat.enter(.evaluation)
        let whole = try evaluator.evaluate(network, on: world) { share in
            supervision.heartbeat.sign()
            ledger.noteEvaluation(
                after: number, share: share, for: (ContinuousClock.now - start) / .seconds(1))
            return !supervision.isAskedToStop
        }
        guard let result = whole else {
            validation.postpone(after: number)
            return false
        }
        let loss = result.loss
        guard loss.isFinite else {
            throw LockstepError(
                .nonFinite,
                "step \(number): the validation loss is not finite after this step, and its parameters are not saved. "
                    + "A lower train.optimizer.learning_rate, more train.schedule.warmup_steps or a train.clip_norm "
                    + "usually helps.")
        }
        ledger.record(
            EvaluationRecord(
                step: number, validationLoss: loss, bitsPerByte: bytesPerToken.map { loss / log(2) / $0 },
                exactMatch: result.exactMatch, tokens: result.tokens,
                seconds: (ContinuousClock.now - start) / .seconds(1)))
        return validation.add(loss, after: number)
    }

    /// What is saved must be right.
    private func beginSaving(after number: Int, on world: borrowing Communicator) throws {
        try replicas.checkBeforeSaving(number, hosts: ledger.hosts, on: world)
        try checkpoints.begin(after: number, validation, on: world)
    }
}
