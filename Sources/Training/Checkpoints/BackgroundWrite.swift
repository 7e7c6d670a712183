import Configs
import Foundation
import Synchronization

/// Files of a checkpoint on their way to the disk, in a thread of its own that makes no MPI call.
final class BackgroundWrite: Sendable {
    /// Lines of the manifest, or what went wrong; and how long it took.
    struct Outcome {
        let files: Result<[Manifest.File], any Error>
        let seconds: Double

        /// Writes `files` into `folder`.
        init(writing files: [CheckpointFile], into folder: String) {
            let start = ContinuousClock.now
            self.files = Result { try files.map { try $0.write(into: folder) } }
            seconds = (ContinuousClock.now - start) / .seconds(1)
        }
    }

    /// Memory that nobody changes before the thread is done.
    private struct Job: @unchecked Sendable { let files: [CheckpointFile] }

    private let outcome = Mutex<Outcome?>(nil)
    private let ended = DispatchSemaphore(value: 0)

    /// Starts to write `files`, whose memory stays as it is until `wait` returns.
    init(_ files: [CheckpointFile], into folder: String) {
        let job = Job(files: files)
        Thread { [self] in
            let result = Outcome(writing: job.files, into: folder)
            outcome.withLock { $0 = result }
            ended.signal()
        }.start()
    }

    var isDone: Bool { outcome.withLock { $0 != nil } }

    /// Waits for the thread to end.
    func wait() -> Outcome {
        ended.wait()
        ended.signal()
        return outcome.withLock { $0! }
    }
}
