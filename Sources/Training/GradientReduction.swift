import Kernels
import MessagePassing

/// Sums the gradients of all ranks in place, a bucket at a time and in the order in which backward completes them, while
/// backward goes on.
///
/// The bucket bounds depend on the layout and the bucket size alone, so every rank starts the same reductions in the same
/// order.
struct GradientReduction: ~Copyable {
    private let gradients: Vector
    /// Elements of a bucket; the last one, at the start of the arena, may be smaller.
    private let bucketCount: Int
    private let numBuckets: Int
    private let overlaps: Bool
    /// One place for each bucket; the first `numStarted` are in use.
    private let requests: UnsafeMutableBufferPointer<Request>
    private var numStarted = 0

    /// `bucketBytes` is rounded down to whole elements.
    init(gradients: Vector, bucketBytes: Int, overlaps: Bool) {
        self.gradients = gradients
        self.overlaps = overlaps
        bucketCount = max(1, bucketBytes / MemoryLayout<Float>.stride)
        numBuckets = (gradients.count + bucketCount - 1) / bucketCount
        requests = .allocate(capacity: numBuckets)
    }

    deinit {
        // Only an error on its way to an abort leaves requests behind.
        for index in 0..<numStarted { requests.moveElement(from: index).abandon() }
        requests.deallocate()
    }

    /// Gradients from element `offset` on are complete on this rank: starts the reduction of every bucket that they
    /// fill, and lets those under way progress.
    mutating func start(from offset: Int, on communicator: borrowing Communicator) throws {
        guard overlaps else { return }
        try startBuckets(from: offset, on: communicator)
        for index in 0..<numStarted { _ = try requests[index].test() }
    }

    /// Waits until every gradient is the sum over all ranks.
    mutating func finish(on communicator: borrowing Communicator) throws {
        try startBuckets(from: 0, on: communicator)
        let started = numStarted
        numStarted = 0
        for index in 0..<started { try requests.moveElement(from: index).wait() }
    }

    private mutating func startBuckets(from offset: Int, on communicator: borrowing Communicator) throws {
        while numStarted < numBuckets, bounds(numStarted).lowerBound >= offset {
            let bucket = gradients.slice(bounds(numStarted))
            let request = try communicator.startAllreduce(
                inPlace: UnsafeMutableBufferPointer(start: bucket.base, count: bucket.count))
            requests.initializeElement(at: numStarted, to: request)
            numStarted += 1
        }
    }

    /// Buckets count from the end of the arena, where backward begins.
    private func bounds(_ bucket: Int) -> Range<Int> {
        let end = gradients.count - bucket * bucketCount
        return max(0, end - bucketCount)..<end
    }
}
