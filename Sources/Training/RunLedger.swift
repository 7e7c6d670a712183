import Configs
import Foundation
import Kernels
import Ledger
import MessagePassing

/// One rank's side of the run's records: it meters its memory and sends its sample of every step to rank 0, which writes
/// the ledger, the status and the progress line.
final class RunLedger {
    private let rank: Int
    private let log: RankLog
    private let meter = MemoryMeter()
    /// This rank's sample, and on rank 0 those of all ranks in rank order: rows of `StepSample.width`.
    private let row: AlignedBuffer<Double>
    private let rows: AlignedBuffer<Double>
    private let coordinator: Coordinator?
    /// Of every rank.
    let hosts: [String]

    /// Opens the files. Collective.
    ///
    /// - Parameters:
    ///   - doneSteps: that the run has behind it already.
    ///   - reports: whether rank 0 shows the run's progress.
    init(
        config: RunConfig, run: RunDirectory, doneSteps: Int, topology: Topology, reports: Bool,
        on world: borrowing Communicator
    ) throws {
        rank = world.rank
        let environment = try MPIEnvironment(world)
        hosts = try world.allgather(environment.hostName, bytes: 64)
        row = try AlignedBuffer(count: StepSample.width)
        rows = try AlignedBuffer(count: world.rank == 0 ? StepSample.width * world.size : 0)
        let hosts = hosts
        coordinator = try world.collectively {
            world.rank == 0
                ? try Coordinator(config, run: run, doneSteps: doneSteps, hosts: hosts, reports: reports)
                : nil
        }
        log = RankLog(path: run.log(rank: world.rank))
        log.write(
            "rank \(world.rank) of \(world.size) on \(environment.hostName): \(environment.libraryVersion); "
                + "OpenBLAS \(OpenBLAS.coreName), \(config.parallel.threadsPerRank) thread(s); "
                + "\(topology.reduction.rawValue) reduction over \(topology.hosts) host(s)")
    }

    /// Adds a finished step. Collective.
    func record(
        _ step: Int, _ result: StepResult, _ seconds: StepSample.Seconds, _ speed: StepSample.Speed?,
        memory: StepSample.Bytes, on world: borrowing Communicator
    ) throws {
        var sample = StepSample(step: step, rank: rank)
        sample.loss = result.loss
        sample.tokens = result.rankTokens
        sample.learningRate = result.learningRate
        sample.gradientNorm = result.gradientNorm
        sample.seconds = seconds
        sample.speed = speed
        sample.matmulFLOPs = result.matmulFLOPs
        sample.bytes = memory
        sample.bytes.record(meter.read())
        sample.sentBytes = result.sentBytes
        sample.isSkipped = result.skipped != nil

        sample.pack(into: UnsafeMutableBufferPointer(start: row.base, count: row.count))
        try world.gather(
            UnsafeBufferPointer(start: row.base, count: row.count),
            into: rank == 0 ? UnsafeMutableBufferPointer(start: rows.base, count: rows.count) : nil, root: 0)
        let all = UnsafeBufferPointer(start: rows.base, count: rows.count)
        for warning in coordinator?.record(step: step, rows: all) ?? [] { note(warning) }
    }

    /// The update of a step was left out; `message` says why.
    func recordSkip(_ message: String) {
        note(message)
        coordinator?.recordSkip(message)
    }

    /// The run goes on behind step `record.step`, and the records forget the steps behind it; `message` says why.
    func recordRollback(_ record: ResumeRecord, _ message: String) {
        note(message)
        coordinator?.recordRollback(record, message)
    }

    /// An evaluation behind step `step` has come so far in `seconds`.
    func noteEvaluation(after step: Int, share: Double, for seconds: Double) {
        coordinator?.noteEvaluation(after: step, share: share, for: seconds)
    }

    /// Adds an evaluation, which is the same on every rank.
    func record(_ evaluation: EvaluationRecord) {
        note("step \(evaluation.step): validation loss \(evaluation.validationLoss ?? .nan)")
        coordinator?.record(evaluation)
    }

    /// Adds a checkpoint.
    func record(_ checkpoint: CheckpointRecord) {
        note("saved the checkpoint of step \(checkpoint.step)")
        coordinator?.record(checkpoint)
    }

    /// Hands what is buffered to the system.
    func flush() { coordinator?.flush() }

    /// Writes down how fast the machine was.
    func record(_ speed: RunSpeed) { coordinator?.record(speed) }

    /// Writes down what the ranks of every host take together, where the systems tell. Collective.
    func recordMemory(on world: borrowing Communicator) throws {
        let share = meter.hostShare() ?? (0, 0)
        let own = [Double(share.own), Double(share.files)]
        var all = [Double](repeating: 0, count: 2 * world.size)
        try own.withUnsafeBufferPointer { own in
            try all.withUnsafeMutableBufferPointer { try world.allgather(own, into: $0) }
        }
        guard all.allSatisfy({ $0 > 0 }) else { return }
        let shares = (0..<world.size).map { (own: Int(all[2 * $0]), files: Int(all[2 * $0 + 1])) }
        coordinator?.record(RunMemory(shares: shares, hosts: hosts))
    }

    /// Adds a line to this rank's log.
    func note(_ message: String) { log.write(message) }

    /// The run has ended as it should: writes the last of the ledger and the status. When it did so early, `message` says
    /// why, and rank 0 says it.
    func complete(early message: String?) throws {
        note(message ?? "completed")
        try coordinator?.close(as: .completed, message: message)
        if coordinator?.speaks == true, let message { reportToStandardError("lockstep: \(message)") }
    }

    /// The run ends early, as it was asked to; `message` says by what and how it goes on. Rank 0 says it.
    func preempt(_ message: String) throws {
        note("preempted: \(message)")
        try coordinator?.close(as: .preempted, message: message, exitCode: ExitStatus.preempted.rawValue)
        if coordinator != nil { reportToStandardError("lockstep: \(message)") }
    }

    /// The run ends with `error`, which the caller reports.
    func fail(_ error: any Error, exitCode: Int32) {
        note("failed: \(error)")
        try? coordinator?.close(as: .failed, message: "\(error)", exitCode: exitCode)
    }
}

/// What rank 0 alone does. Telemetry that cannot be written is reported once and never stops training.
private final class Coordinator {
    private let run: RunDirectory
    private let steps: Int
    private var ledger: LedgerWriter
    private var evaluations: EvaluationWriter
    private var checkpoints: CheckpointWriter
    /// nil when nobody wants to see it.
    private var progress: ProgressLine?
    private var status: RunStatus
    private let hosts: [String]
    /// Whether somebody wants to know how the run goes.
    var speaks: Bool { progress != nil }
    private var stragglers: StragglerMonitor
    /// Ranks of which it has been said that they are slow, and as complements that they have recovered.
    private var warned: Set<Int> = []
    /// When ledger and status were last handed to the system; nil before the first step.
    private var lastFlush: ContinuousClock.Instant?

    init(_ config: RunConfig, run: RunDirectory, doneSteps: Int, hosts: [String], reports: Bool) throws {
        self.run = run
        self.hosts = hosts
        stragglers = StragglerMonitor(ranks: hosts.count)
        steps = config.train.steps
        ledger = try LedgerWriter(path: run.ledger, hosts: hosts)
        evaluations = try EvaluationWriter(path: run.evaluations)
        checkpoints = try CheckpointWriter(path: run.checkpointLog)
        progress = reports ? ProgressLine(terminal: Terminal(descriptor: STDERR_FILENO)) : nil
        status = RunStatus(state: .running, step: doneSteps, steps: steps)
        try status.write(to: run.status)
    }

    /// Returns what there is to warn of.
    func record(step: Int, rows: UnsafeBufferPointer<Double>) -> [String] {
        let findings = stragglers.add { rank in
            let first = rank * StepSample.width
            let row = UnsafeBufferPointer(rebasing: rows[first..<first + StepSample.width])
            let seconds = StepSample(unpacking: row).seconds
            return seconds.forward + seconds.backward
        }
        if !findings.isEmpty { status.slowRanks = stragglers.slow.isEmpty ? nil : stragglers.slow }
        var shown = StepProgress(steps: steps)
        for first in stride(from: 0, to: rows.count, by: StepSample.width) {
            let row = UnsafeBufferPointer(rebasing: rows[first..<first + StepSample.width])
            let sample = StepSample(unpacking: row)
            shown.add(sample)
            guarded { coordinator throws(LockstepError) in try coordinator.ledger.append(sample) }
        }
        progress?.show(shown)
        status.step = step
        status.loss = shown.loss
        flushNowAndThen()
        let warnings = findings.map { $0.text(host: hosts[$0.rank]) }
        // A rank on the threshold would fill the screen.
        for (finding, warning) in zip(findings, warnings)
        where warned.insert(finding.isSlow ? finding.rank : ~finding.rank).inserted {
            warn(warning)
        }
        return warnings
    }

    func recordSkip(_ message: String) {
        status.skippedSteps = (status.skippedSteps ?? 0) + 1
        warn(message)
    }

    func recordRollback(_ record: ResumeRecord, _ message: String) {
        status.step = record.step
        status.rollbacks = (status.rollbacks ?? 0) + 1
        warn(message)
        flush()
        // The files are replaced by shorter ones.
        guarded { coordinator throws(LockstepError) in
            try coordinator.run.goOn(record)
            coordinator.ledger = try LedgerWriter(path: coordinator.run.ledger, hosts: coordinator.hosts)
            coordinator.evaluations = try EvaluationWriter(path: coordinator.run.evaluations)
            coordinator.checkpoints = try CheckpointWriter(path: coordinator.run.checkpointLog)
        }
    }

    private func warn(_ message: String) {
        guard progress != nil else { return }
        progress?.end()
        reportToStandardError("lockstep: warning: \(message)")
    }

    func noteEvaluation(after step: Int, share: Double, for seconds: Double) {
        progress?.showEvaluation(after: step, of: steps, share: share, for: seconds)
    }

    func record(_ evaluation: EvaluationRecord) {
        status.validationLoss = evaluation.validationLoss
        progress?.show(evaluation, of: steps)
        guarded { coordinator throws(LockstepError) in try coordinator.evaluations.append(evaluation) }
    }

    func record(_ checkpoint: CheckpointRecord) {
        guarded { coordinator throws(LockstepError) in try coordinator.checkpoints.append(checkpoint) }
    }

    func record(_ speed: RunSpeed) {
        guarded { coordinator throws(LockstepError) in
            try JSONFile.write(speed, to: coordinator.run.speed)
        }
    }

    func record(_ memory: RunMemory) {
        guarded { coordinator throws(LockstepError) in
            try JSONFile.write(memory, to: coordinator.run.memory)
        }
    }

    func flush() {
        guarded { coordinator throws(LockstepError) in try coordinator.ledger.flush() }
    }

    func close(as state: RunStatus.State, message: String? = nil, exitCode: Int32 = 0) throws {
        progress?.end()
        status.state = state
        status.message = message
        status.exitCode = exitCode
        flush()
        try status.write(to: run.status)
    }

    /// Once a second, so that the files of a run can be watched and a crash costs little.
    private func flushNowAndThen() {
        let now = ContinuousClock.now
        if let lastFlush, now - lastFlush < .seconds(1) { return }
        lastFlush = now
        guarded { coordinator throws(LockstepError) in
            try coordinator.ledger.flush()
            // Other ranks may have taken this one for stopped and ended the run.
            guard (try? RunStatus.read(from: coordinator.run.status))?.state != .failed else { return }
            try coordinator.status.write(to: coordinator.run.status)
        }
    }

    private func guarded(_ write: (Coordinator) throws(LockstepError) -> Void) {
        do {
            try write(self)
        } catch {
            progress?.end()
            reportToStandardError("lockstep: warning: \(error); training goes on without it")
        }
    }
}
