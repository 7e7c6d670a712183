import Dispatch
import Synchronization

/// Hands jobs to workers, one thread each, in memory that does not grow with their number.
struct ParallelJobs<Worker: AnyObject, Job: Sendable> {
    private let workers: [Worker]
    /// Jobs between two points at which all threads wait for each other.
    private static var jobsPerThread: Int { 4 }

    init(workers: [Worker]) {
        precondition(!workers.isEmpty, "nobody to work")
        self.workers = workers
    }

    /// Does all `jobs`; `finish` gets the results in their order. Throws the first error in that order.
    func run<Result: Sendable>(
        _ jobs: some Sequence<Job>, _ work: @Sendable (Worker, Job) throws -> Result,
        finish: (Job, Result) throws -> Void
    ) throws {
        var rest = jobs.makeIterator()
        while true {
            var round: [Job] = []
            while round.count < workers.count * Self.jobsPerThread, let job = rest.next() {
                round.append(job)
            }
            guard !round.isEmpty else { return }
            for (job, result) in zip(round, results(of: round, work)) { try finish(job, result.get()) }
        }
    }

    private func results<Value: Sendable>(
        of jobs: [Job], _ work: @Sendable (Worker, Job) throws -> Value
    ) -> [Result<Value, any Error>] {
        let results = Mutex([Result<Value, any Error>?](repeating: nil, count: jobs.count))
        let nextJob = Atomic(0)
        nonisolated(unsafe) let workers = workers
        DispatchQueue.concurrentPerform(iterations: min(workers.count, jobs.count)) { thread in
            while true {
                let index = nextJob.add(1, ordering: .relaxed).oldValue
                guard index < jobs.count else { return }
                let result = Result { try work(workers[thread], jobs[index]) }
                results.withLock { $0[index] = result }
            }
        }
        return results.withLock { $0.compactMap(\.self) }
    }
}

/// Pieces of a text that make up about a mebibyte: threads are not to be handed single words.
struct PieceJobs: Sequence, IteratorProtocol {
    struct Job {
        var pieces: [TextPiece] = []
        var bytes = 0
        /// Where the text of the job ends.
        var end = 0
    }

    private var pieces: TextPieces

    init(_ pieces: TextPieces) {
        self.pieces = pieces
    }

    mutating func next() -> Job? {
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
        return job.pieces.isEmpty ? nil : job
    }
}
