internal import CMPI

/// One half of a ring allreduce (Patarasuk and Yuan 2009), made of sends to the next rank and receives from the one
/// before it: a reduce-scatter or an allgather of p equal parts, part r being rank r's.
///
/// Each of the p − 1 stages sends one part and receives one, so that every rank sends p − 1 parts. Sums are taken in the
/// order of the ring: they are the same in every run. A pass moves on inside `advance` alone and allocates nothing.
public struct RingPass: ~Copyable {
    public enum Kind: Sendable {
        /// Part r becomes the sum over all ranks on rank r; the other parts are left half-summed.
        case reduceScatter
        /// Part r of rank r is copied to all ranks.
        case allgather
    }

    private let kind: Kind
    /// `[size, partCount]`
    private let buffer: Elements
    /// `[partCount]`, unused by an allgather.
    private let scratch: Elements
    private let partCount: Int
    private let rank: Int
    private let size: Int
    private let tag: Int32

    private var stage = 0
    private var isUnderWay = false
    private var sending = Request(call: "MPI_Isend")
    private var receiving = Request(call: "MPI_Irecv")

    /// Prepares a pass, which the first `advance` starts. Throws `LengthMismatch`.
    ///
    /// - Parameters:
    ///   - buffer: a multiple of the group's size; must stay where it is, untouched, until the pass is complete.
    ///   - scratch: for a reduce-scatter over more than one rank at least a part, which no other pass under way uses.
    ///   - tag: one that no other pass under way on the communicator has.
    public init<Element: MessageElement>(
        _ kind: Kind, _ buffer: UnsafeMutableBufferPointer<Element>,
        scratch: UnsafeMutableBufferPointer<Element>, tag: Int32, on communicator: borrowing Communicator
    ) throws {
        self.kind = kind
        self.tag = tag
        (rank, size) = (communicator.rank, communicator.size)
        partCount = buffer.count / size
        self.buffer = Elements(buffer)
        let needed = kind == .reduceScatter && size > 1 ? partCount : 0
        self.scratch = Elements(scratch).slice(0, Swift.min(scratch.count, needed))
        try checkLength(
            buffer.count, expected: partCount * size, of: "the buffer of \(size) parts", in: "ring")
        try checkLength(self.scratch.count, expected: needed, of: "the scratch", in: "ring")
    }

    /// Moves the pass on as far as that goes without waiting, on the communicator that it was made for. Whether it is
    /// complete.
    public mutating func advance(on communicator: borrowing Communicator) throws -> Bool {
        while stage < size - 1 {
            if !isUnderWay { try startStage(on: communicator) }
            let (hasReceived, hasSent) = (try receiving.test(), try sending.test())
            guard hasReceived && hasSent else { return false }
            if kind == .reduceScatter { try communicator.add(scratch, to: part(receivedPart)) }
            isUnderWay = false
            stage += 1
        }
        return true
    }

    /// Gives the pass up: only on the way to an abort.
    public consuming func abandon() {
        sending.abandon()
        receiving.abandon()
    }

    private mutating func startStage(on communicator: borrowing Communicator) throws {
        isUnderWay = true
        let incoming = kind == .reduceScatter ? scratch : part(receivedPart)
        receiving = try communicator.startReceive(into: incoming, from: (rank + size - 1) % size, tag: tag)
        sending = try communicator.startSend(part(sentPart), to: (rank + 1) % size, tag: tag)
    }

    /// A reduce-scatter starts with the part of the rank before, so that its own is the last to come.
    private var sentPart: Int { (rank + 2 * size - stage - (kind == .reduceScatter ? 1 : 0)) % size }
    private var receivedPart: Int { (sentPart + size - 1) % size }

    private func part(_ index: Int) -> Elements { buffer.slice(index * partCount, partCount) }
}

extension Communicator {
    /// target += addend, on this rank.
    fileprivate func add(_ addend: Elements, to target: Elements) throws {
        for chunk in chunks(target.count) {
            try check(
                MPI_Reduce_local(
                    addend.address(chunk.offset), target.address(chunk.offset), chunk.count,
                    target.type.datatype, ReduceOperation.sum.handle),
                "MPI_Reduce_local")
        }
    }
}
