import CTiles
import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Transformer

/// Trains `config` on all ranks of `world` into the new run directory `directory`. Collective.
///
/// Until the first step everything is checked by all ranks together: if any of them cannot go on, one says why, all throw
/// `CollectiveFailure`, and no run directory stays behind.
///
/// - Parameters:
///   - profile: what this machine can do, for the estimate; nil when it has not been calibrated.
///   - reports: whether rank 0 says on standard error what is expected, how it goes and what came of it.
public func train(
    _ config: RunConfig, directory: String, profile: Profile?, reports: Bool = true,
    on world: borrowing Communicator
) throws {
    let precision = try ProductPrecision(config, on: world)
    let config = precision.config
    if let warning = precision.warning, world.rank == 0 {
        reportToStandardError("lockstep: warning: \(warning)")
    }
    let topology = try Topology(config.parallel.reduction, world: world)
    try Preflight.check(config, topology, profile: profile, on: world)
    let team = try world.collectively { try ThreadTeam(threads: config.parallel.threadsPerRank) }
    let speed = profile == nil ? nil : try SpeedMeter(team)
    var new: NewRunDirectory? = nil
    try world.collectively {
        if world.rank == 0 { new = try NewRunDirectory(path: directory) }
    }
    let run = try world.collectively { try RunDirectory(existing: directory) }
    let trainer = try Trainer(
        config, tiles: precision.tiles, run: run, topology: topology, team: team, profile: profile,
        speed: speed, reports: reports, on: world)
    if let new { _ = new.keep() }
    try trainer.run(on: world)
}

/// One rank's part in a run: the loop over steps, evaluations and checkpoints.
package final class Trainer {
    private let config: RunConfig
    private let run: RunDirectory
    private let decoder: Decoder
    private let evaluator: Evaluator
    private let step: TrainStep
    private let ledger: RunLedger
    /// nil without a profile, as there is nothing to set the speed beside.
    private let speed: SpeedMeter?
    private let reports: Bool

    /// Reads the corpus and allocates all that training needs. Collective.
    package init(
        _ config: RunConfig, tiles: TileMode?, run: RunDirectory, topology: Topology, team: ThreadTeam,
        profile: Profile?, speed: SpeedMeter?, reports: Bool,
        on world: borrowing Communicator
    ) throws {
        let model = config.model
        let corpus = try Self.openCorpus(config, run: run, on: world)
        let ledger = try RunLedger(
            config: config, run: run, topology: topology, reports: reports, on: world)
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
        let (decoder, buffers, step) = try world.collectively {
            let decoder = try Decoder(
                config: model, microBatch: estimate.microBatch, purpose: .training, backend: OpenBLAS(),
                team: team, tiles: tiles)
            decoder.initialize(seed: config.train.seed)
            let buffers = try BatchBuffers(microBatch: estimate.microBatch, length: model.contextLength)
            let step = try TrainStep(
                config: config, decoder: decoder, samples: corpus.train, buffers: buffers,
                topology: topology)
            return (decoder, buffers, step)
        }
        self.config = config
        self.run = run
        self.decoder = decoder
        evaluator = Evaluator(samples: corpus.validation, buffers: buffers)
        self.step = step
        self.ledger = ledger
        self.speed = speed?.paced(for: estimate.time.step)
        self.reports = reports
    }

    /// The run, from the first step to the verification.
    package func run(on world: borrowing Communicator) throws {
        do {
            speed?.sampleAtTheEnd()
            for number in 1...config.train.steps {
                var clock = PhaseClock()
                let result = try step.run(number, clock: &clock)
                let seconds = clock.finish()
                if isDue(number, every: config.train.evaluateEvery) { try evaluate(after: number, on: world) }
                if isDue(number, every: config.train.checkpointEvery) { try save(after: number, on: world) }
                // Last, so that the sample's peak memory has seen all that the step brought with it.
                try ledger.record(number, result, seconds, memory: step.memory, on: world)
                speed?.sample(after: number)
            }
        } catch let error as LockstepError where error.status == .nonFinite {
            // Loss and gradient are the same on every rank, so all of them are here.
            ledger.fail(error, exitCode: error.status.rawValue)
            try world.collectively { throw error }
        } catch let failure as CollectiveFailure {
            ledger.fail(failure, exitCode: failure.exitCode)
            throw failure
        }
        try ledger.recordMemory(on: world)
        if let speed {
            speed.sampleAtTheEnd()
            ledger.record(try speed.speeds(on: world))
        }
        try world.collectively {
            try ledger.complete()
            if world.rank == 0 { try verify() }
        }
    }

    /// Lays the ledger beside the estimate, and says in a line or two how they agree.
    private func verify() throws {
        let verification = try Verification(of: run)
        try JSONFile.write(verification, to: run.verification)
        guard reports else { return }
        let table = VerificationTable(verification, terminal: Terminal(descriptor: STDERR_FILENO))
        reportToStandardError(table.verdict + "\n`lockstep verify \(run.path)` shows every term")
    }

    /// Whether something that happens every `interval` steps, and after the last one, happens after step `number`.
    private func isDue(_ number: Int, every interval: Int) -> Bool {
        number == config.train.steps || (interval > 0 && number.isMultiple(of: interval))
    }

    private func evaluate(after number: Int, on world: borrowing Communicator) throws {
        let start = ContinuousClock.now
        let (loss, tokens) = try evaluator.evaluate(decoder, on: world)
        guard loss.isFinite else {
            throw LockstepError(
                .nonFinite,
                "step \(number): the validation loss is not finite after this step, and its parameters are not saved. "
                    + "A lower train.optimizer.learning_rate, more train.schedule.warmup_steps or a train.clip_norm "
                    + "usually helps.")
        }
        ledger.record(
            EvaluationRecord(
                step: number, validationLoss: loss, bitsPerByte: loss / log(2), tokens: tokens,
                seconds: (ContinuousClock.now - start) / .seconds(1)))
    }

    private func save(after number: Int, on world: borrowing Communicator) throws {
        let start = ContinuousClock.now
        let bytes = try world.collectively {
            world.rank == 0 ? try Checkpoint.save(decoder, step: number, in: run) : 0
        }
        ledger.record(
            CheckpointRecord(step: number, bytes: bytes, seconds: (ContinuousClock.now - start) / .seconds(1))
        )
    }

    /// Rank 0 makes the shards, then every rank maps them.
    private static func openCorpus(
        _ config: RunConfig, run: RunDirectory, on world: borrowing Communicator
    ) throws -> PreparedCorpus {
        try world.collectively {
            guard world.rank == 0 else { return }
            try FileWriter.write(Data(config.yaml().utf8), to: run.config)
            try PreparedCorpus.prepare(
                data: config.data, vocabSize: config.model.vocabSize,
                contextLength: config.model.contextLength, directory: run.data)
        }
        return try world.collectively {
            try PreparedCorpus.open(
                data: config.data, contextLength: config.model.contextLength, seed: config.train.seed,
                directory: run.data)
        }
    }
}
