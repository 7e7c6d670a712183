import Configs
import Kernels
import Ledger
import MessagePassing

/// What watches over a rank while it trains: its heartbeat, its watchdog, and the signals that ask it to stop.
package final class Supervision {
    let heartbeat: Heartbeat
    private let watchdog: Watchdog
    private let heedsSignals: Bool

    /// Begins to watch, from a thread on the CPUs of `affinity`. `heedsSignals`: a request to stop ends the run behind the
    /// step under way, and what is under way of an evaluation.
    init(
        _ config: RunConfig, run: RunDirectory, host: String, affinity: Affinity, heedsSignals: Bool,
        on world: borrowing Communicator
    ) {
        heartbeat = Heartbeat(path: run.heartbeat(rank: world.rank), host: host)
        watchdog = Watchdog(
            rank: world.rank, ranks: world.size, run: run, heartbeat: heartbeat,
            timeout: config.parallel.hangTimeout, affinity: affinity)
        self.heedsSignals = heedsSignals
        if heedsSignals { StopSignals.install() }
    }

    deinit { watchdog.stop() }

    /// Whether this rank was asked to stop.
    var isAskedToStop: Bool { heedsSignals && StopSignals.pending != nil }

    /// The signal by which any rank was asked to stop; nil when none was. The same on every rank. Collective.
    func stopRequest(on world: borrowing Communicator) throws -> Int32? {
        guard heedsSignals else { return nil }
        let signal = try world.agree(on: StopSignals.pending ?? 0, .max)
        return signal == 0 ? nil : signal
    }

    /// The run is over: what comes now may take as long as it likes.
    func end() { watchdog.stop() }
}
