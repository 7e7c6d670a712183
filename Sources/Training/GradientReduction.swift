import Kernels
import MessagePassing

/// Sums the gradients of all ranks in place, a bucket at a time and in the order in which backward completes them, while
/// backward goes on.
///
/// The bucket bounds depend on the layout and the bucket size alone, so every rank starts the same reductions in the same
/// order.
package struct GradientReduction: ~Copyable {
    /// Buckets under way at one time: MPI's library holds a temporary copy of each.
    static let window = 4

    private let gradients: Vector
    /// Elements of a bucket; the last one, at the start of the arena, may be smaller.
    private let bucketCount: Int
    private let numBuckets: Int
    private let overlaps: Bool
    /// The request of bucket i is at i % window while the bucket is under way.
    private let requests: UnsafeMutableBufferPointer<Request>
    /// Buckets `numFinished ..< numStarted` are under way.
    private var numStarted = 0
    private var numFinished = 0

    /// `bucketBytes` is rounded down to whole elements.
    package init(gradients: Vector, bucketBytes: Int, overlaps: Bool) {
        self.gradients = gradients
        self.overlaps = overlaps
        bucketCount = max(1, bucketBytes / MemoryLayout<Float>.stride)
        numBuckets = (gradients.count + bucketCount - 1) / bucketCount
        requests = .allocate(capacity: Self.window)
    }

    deinit {
        // Only an error on its way to an abort leaves requests behind.
        for bucket in numFinished..<numStarted { requests.moveElement(from: bucket % Self.window).abandon() }
        requests.deallocate()
    }

    /// Gradients from element `offset` on are complete on this rank: lets the buckets under way progress, and starts
    /// those that are filled, as far as there is room.
    package mutating func advance(from offset: Int, on communicator: borrowing Communicator) throws {
        guard overlaps else { return }
        while numFinished < numStarted, try requests[numFinished % Self.window].test() { try finishOldest() }
        try startBuckets(from: offset, on: communicator)
    }

    /// Waits until every gradient is the sum over all ranks.
    package mutating func finish(on communicator: borrowing Communicator) throws {
        while numFinished < numBuckets {
            try startBuckets(from: 0, on: communicator)
            try finishOldest()
        }
        (numStarted, numFinished) = (0, 0)
    }

    private mutating func startBuckets(from offset: Int, on communicator: borrowing Communicator) throws {
        while numStarted < numBuckets, numStarted < numFinished + Self.window,
            bounds(numStarted).lowerBound >= offset
        {
            let bucket = gradients.slice(bounds(numStarted))
            let request = try communicator.startAllreduce(
                inPlace: UnsafeMutableBufferPointer(start: bucket.base, count: bucket.count))
            requests.initializeElement(at: numStarted % Self.window, to: request)
            numStarted += 1
        }
    }

    private mutating func finishOldest() throws {
        let request = requests.moveElement(from: numFinished % Self.window)
        numFinished += 1
        try request.wait()
    }

    /// Buckets count from the end of the arena, where backward begins.
    private func bounds(_ bucket: Int) -> Range<Int> {
        let end = gradients.count - bucket * bucketCount
        return max(0, end - bucketCount)..<end
    }
}
