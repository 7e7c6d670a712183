import Dispatch
import Synchronization

/// Hands the pieces of a text to workers, one thread each.
struct ParallelPieces<Worker: AnyObject> {
    private var pieces: TextPieces
    private let workers: [Worker]
    /// Jobs between two points at which all threads wait for each other.
    private static var jobsPerThread: Int { 4 }

    init(_ pieces: TextPieces, workers: [Worker]) {
        precondition(!workers.isEmpty, "nobody to work")
        self.pieces = pieces
        self.workers = workers
    }

    /// Pieces of about a mebibyte in all: threads are not to be handed single lines.
    struct Job {
        var pieces: [TextPiece] = []
        var bytes = 0
        /// Where the text of the job ends.
        var end = 0
    }

    /// Hands out some jobs. Returns them, of the workers' results those of `body`, in the order of the text; nil at its
    /// end.
    mutating func round<Result: Sendable>(
        _ body: @Sendable (Worker, Job) -> Result
    ) -> [(job: Job, result: Result)]? {
        let jobs = nextJobs()
        guard !jobs.isEmpty else { return nil }
        let results = Mutex([Result?](repeating: nil, count: jobs.count))
        let nextJob = Atomic(0)
        nonisolated(unsafe) let workers = workers
        DispatchQueue.concurrentPerform(iterations: min(workers.count, jobs.count)) { thread in
            while true {
                let index = nextJob.add(1, ordering: .relaxed).oldValue
                guard index < jobs.count else { return }
                let result = body(workers[thread], jobs[index])
                results.withLock { $0[index] = result }
            }
        }
        return zip(jobs, results.withLock { $0 }).map { ($0, $1!) }
    }

    private mutating func nextJobs() -> [Job] {
        var jobs: [Job] = []
        while jobs.count < workers.count * Self.jobsPerThread {
            var job = Job()
            while job.bytes < TextPieces.pieceBytes, let piece = pieces.next() {
                job.pieces.append(piece)
                // A token takes memory, too.
                job.bytes += MemoryLayout<TextPiece>.stride
                if case .text(let range, _) = piece {
                    job.bytes += range.count
                    job.end = range.upperBound
                }
            }
            guard !job.pieces.isEmpty else { break }
            jobs.append(job)
        }
        return jobs
    }
}
