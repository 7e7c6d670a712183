import Configs
import Foundation
import Kernels
import Ledger
import Synchronization

/// Files of a checkpoint on their way to the disk, in a thread of its own that makes no MPI call.
final class BackgroundWrite: Sendable {
    /// Lines of the manifest, or what went wrong; and how long it took.
    struct Outcome {
        let files: Result<[Manifest.File], any Error>
        let seconds: Double
    }

    /// Memory that nobody changes before the thread is done.
    private struct Job: @unchecked Sendable { let files: [CheckpointFile] }

    private let outcome = Mutex<Outcome?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    /// Starts to write `files`, whose memory stays as it is until `wait` returns, on the CPUs of `affinity`. `heartbeat` is
    /// told of every piece that has been written, so that a slow disk is not taken for a hang.
    init(_ files: [CheckpointFile], into folder: String, affinity: Affinity, heartbeat: Heartbeat) {
        let job = Job(files: files)
        Thread { [self] in
            affinity.apply()
            let start = ContinuousClock.now
            let files = Result { try job.files.map { try $0.write(into: folder) { heartbeat.sign() } } }
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            outcome.withLock { $0 = Outcome(files: files, seconds: seconds) }
            ended.signal()
        }.start()
    }

    /// Waits for the thread to end.
    func wait() -> Outcome {
        ended.wait()
        ended.signal()
        return outcome.withLock { $0! }
    }
}
