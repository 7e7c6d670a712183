import Configs
import Cost
import Kernels
import Ledger
import MessagePassing

/// Trains `config` on all ranks of `world` into the new run directory `directory`, or goes on there. Collective.
///
/// Until the first step everything is checked by all ranks together: if any of them cannot go on, one says why, all throw
/// `CollectiveFailure`, and no run directory stays behind.
///
/// Returns whether the run was completed or, asked to stop, saved to be resumed.
///
/// - Parameters:
///   - resumes: whether the run in `directory`, if there is one, is continued from its newest whole checkpoint.
///   - profile: what this machine can do, for the estimate; nil when it has not been calibrated.
///   - reports: whether rank 0 says on standard error what is expected, how it goes and what came of it.
///   - heedsSignals: whether USR1, TERM and a first INT ask the run to stop; otherwise they end the process.
public func train(
    _ config: RunConfig, directory: String, resumes: Bool = false, profile: Profile?, reports: Bool = true,
    heedsSignals: Bool = false, on world: borrowing Communicator
) throws -> RunOutcome {
    try Preflight.compare(config, on: world)
    let precision = try ProductPrecision(config, on: world)
    let config = precision.config
    if let warning = precision.warning, world.rank == 0 {
        reportToStandardError("lockstep: warning: \(warning)")
    }
    var resumption: Resumption?
    if resumes {
        switch try Resumption.find(config, directory: directory, reports: reports, on: world) {
        case .nothing: break
        case .complete: return .completed
        case .run(let found): resumption = found
        }
    }
    let topology = try Topology(config.parallel.reduction, world: world)
    try Preflight.check(config, topology, profile: profile, on: world)
    let team = try world.collectively { try ThreadTeam(threads: config.parallel.threadsPerRank) }
    let speed = profile == nil ? nil : try world.collectively { try SpeedMeter(team, over: topology) }
    var new: NewRunDirectory? = nil
    try world.collectively {
        if world.rank == 0 && resumption == nil { new = try NewRunDirectory(path: directory) }
    }
    let run = try world.collectively { try RunDirectory(existing: directory) }
    let lock = try world.collectively {
        world.rank == 0 ? try resumption?.lock ?? RunLock(run) : nil
    }
    let trainer = try Trainer(
        config, tiles: precision.tiles, run: run, resuming: resumption?.state, topology: topology, team: team,
        profile: profile, speed: speed, reports: reports, heedsSignals: heedsSignals, on: world)
    if let new { _ = new.keep() }
    return try withExtendedLifetime(lock) { try trainer.run(on: world) }
}

/// How a run ended that did not fail.
public enum RunOutcome: Sendable { case completed, preempted }
