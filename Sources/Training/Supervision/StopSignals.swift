import Foundation
import Synchronization

/// The last signal that asked this process to stop; 0 when none has. A signal handler reaches nothing but a global, and a
/// store is all that it does.
private let received = Atomic<Int32>(0)

/// USR1, TERM and the first INT ask a run to save a checkpoint and end; a second INT ends the process at once.
package enum StopSignals {
    /// From now on the signals are requests. Before, they end the process.
    package static func install() {
        received.store(0, ordering: .relaxed)
        var all = sigset_t()
        sigemptyset(&all)
        for (signal, flags) in [
            (SIGUSR1, SA_RESTART), (SIGTERM, SA_RESTART), (SIGINT, SA_RESTART | resetsHandler),
        ] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { received.store($0, ordering: .relaxed) }
            action.sa_flags = flags
            sigaction(signal, &action, nil)
            sigaddset(&all, signal)
        }
        // Whoever started this process may have blocked them.
        pthread_sigmask(SIG_UNBLOCK, &all, nil)
    }

    /// The signal that came last; nil when none has.
    package static var pending: Int32? {
        let signal = received.load(ordering: .relaxed)
        return signal == 0 ? nil : signal
    }

    /// The name of a signal that `install` handles.
    static func name(_ signal: Int32) -> String {
        switch signal {
        case SIGUSR1: "SIGUSR1"
        case SIGTERM: "SIGTERM"
        default: "SIGINT"
        }
    }

    /// SA_RESETHAND, whose value does not fit the type that Swift gives it.
    private static let resetsHandler = Int32(truncatingIfNeeded: SA_RESETHAND)
}
