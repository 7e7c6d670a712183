import Kernels
import MessagePassing

/// A collective operation over an arena, a bucket at a time, while the rank does other work: rings within each host, then
/// across hosts, and back.
///
/// All ranks start the same buckets in the same order. Nothing moves outside of `advance` and `finish`, and neither
/// allocates.
package struct BucketedCollective: ~Copyable {
    package enum Operation: Sendable {
        /// Every element becomes its sum over all ranks.
        case allreduce
        /// The elements that a rank owns become their sums; the others are left half-summed.
        case reduceScatter
        /// The elements that a rank owns are copied to all ranks.
        case allgather

        /// Positions in the order of `startPass`.
        fileprivate var passes: Range<Int> {
            switch self {
            case .allreduce: 0..<4
            case .reduceScatter: 0..<2
            case .allgather: 2..<4
            }
        }
    }

    /// A bucket under way.
    private struct Slot: ~Copyable {
        var pass: Int
        var ring: RingPass
        var isComplete = false
    }

    /// Buckets under way at one time, each with scratch of its own.
    private static let window = 4

    private let arena: Vector
    private let buckets: Buckets
    private let passes: Range<Int>
    private let topology: Topology
    /// `[min(window, buckets), elements of the largest part]`
    private let scratch: AlignedBuffer<Float>
    private let scratchElements: Int
    /// Bucket i is at i % window while it is under way.
    private let slots: UnsafeMutableBufferPointer<Slot>
    /// Buckets `numFinished ..< numStarted` are under way.
    private var numStarted = 0
    private var numFinished = 0

    /// Bytes of scratch.
    var scratchBytes: Int { scratch.bytes }

    /// Allocates the scratch that sums need. The first N mod p elements of `arena` take no part. Throws `AllocationError`.
    package init(
        _ operation: Operation, _ arena: Vector, bucketBytes: Int, over topology: Topology
    ) throws {
        self.arena = arena
        self.topology = topology
        buckets = Buckets(elements: arena.count, bytes: bucketBytes, over: topology)
        passes = operation.passes
        let sums = operation != .allgather && topology.all.size > 1
        scratchElements = sums ? buckets.bucketElements / topology.local.size : 0
        scratch = try AlignedBuffer(count: min(Self.window, buckets.count) * scratchElements)
        slots = .allocate(capacity: Self.window)
    }

    deinit {
        // Only an error on its way to an abort leaves buckets behind.
        for bucket in numFinished..<numStarted {
            slots.moveElement(from: bucket % Self.window).ring.abandon()
        }
        slots.deallocate()
    }

    /// Elements from `offset` on are ready on this rank: starts the buckets that are, as far as there is room, and moves
    /// on those under way.
    package mutating func advance(from offset: Int) throws {
        repeat {
            while numStarted < buckets.count, numStarted < numFinished + Self.window,
                buckets.bounds(numStarted).lowerBound >= offset
            {
                try start(numStarted)
                numStarted += 1
            }
            for bucket in numFinished..<numStarted { try advance(bucket) }
        } while retireOldest()
    }

    /// All elements are ready: waits until every bucket is complete on this rank.
    package mutating func finish() throws {
        while numFinished < buckets.count { try advance(from: 0) }
        (numStarted, numFinished) = (0, 0)
    }

    private mutating func start(_ bucket: Int) throws {
        let slot = try Slot(pass: passes.lowerBound, ring: makePass(passes.lowerBound, bucket))
        slots.initializeElement(at: bucket % Self.window, to: slot)
    }

    private mutating func advance(_ bucket: Int) throws {
        let index = bucket % Self.window
        while !slots[index].isComplete, try advanceRing(index) {
            if slots[index].pass == 0, passes.contains(3) { evictSentParts(of: bucket) }
            slots[index].pass += 1
            if slots[index].pass == passes.upperBound {
                slots[index].isComplete = true
            } else {
                slots[index].ring = try makePass(slots[index].pass, bucket)
            }
        }
    }

    private mutating func advanceRing(_ index: Int) throws -> Bool {
        isLocal(slots[index].pass)
            ? try slots[index].ring.advance(on: topology.local)
            : try slots[index].ring.advance(on: topology.across)
    }

    /// Whether the oldest buckets were complete and have made room.
    private mutating func retireOldest() -> Bool {
        let before = numFinished
        while numFinished < numStarted, slots[numFinished % Self.window].isComplete {
            slots.deinitializeElement(at: numFinished % Self.window)
            numFinished += 1
        }
        return numFinished > before
    }

    /// Sums within the host, sums across hosts, copies across hosts, copies within the host.
    private func makePass(_ pass: Int, _ bucket: Int) throws -> RingPass {
        let index = bucket % Self.window
        let kind: RingPass.Kind = pass < 2 ? .reduceScatter : .allgather
        let range = isLocal(pass) ? buckets.bounds(bucket) : buckets.localPart(bucket)
        let elements = arena.slice(range)
        let buffer = UnsafeMutableBufferPointer(start: elements.base, count: elements.count)
        let scratch = UnsafeMutableBufferPointer(
            start: scratch.base + index * scratchElements, count: scratchElements)
        return isLocal(pass)
            ? try RingPass(kind, buffer, scratch: scratch, tag: Int32(index), on: topology.local)
            : try RingPass(kind, buffer, scratch: scratch, tag: Int32(index), on: topology.across)
    }

    /// The other ranks of the host have read them, and will send their sums.
    private func evictSentParts(of bucket: Int) {
        let (all, own) = (buckets.bounds(bucket), buckets.localPart(bucket))
        arena.slice(all.lowerBound..<own.lowerBound).evictCopies()
        arena.slice(own.upperBound..<all.upperBound).evictCopies()
    }

    private func isLocal(_ pass: Int) -> Bool { pass == 0 || pass == 3 }
}
