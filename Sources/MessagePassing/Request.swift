internal import CMPI

/// A nonblocking operation under way.
///
/// Its buffers must stay where they are, untouched, until `wait` has returned or `test` has said true. A request
/// that goes out of scope before that stops the program: MPI would go on writing to memory that nobody holds.
public struct Request: ~Copyable {
    private let call: StaticString
    // Almost every message is one part, which is kept without an allocation.
    private var first = RequestPart()
    private var others: [RequestPart] = []

    init(call: StaticString) { self.call = call }

    /// Adds the MPI request of the next chunk.
    mutating func add(_ part: RequestPart) {
        if first.isPending { others.append(part) } else { first = part }
    }

    /// Blocks until the operation is complete. Throws `MPIError`, or `LengthMismatch` when a receive met a message
    /// of another length; the operation has ended in either case.
    public consuming func wait() throws {
        do {
            try first.wait(call)
            for index in others.indices { try others[index].wait(call) }
        } catch {
            forget()
            throw error
        }
    }

    /// Whether the operation is complete; also lets MPI make progress on every operation of this rank. Throws what
    /// `wait` would throw, after which the operation has ended.
    public mutating func test() throws -> Bool {
        do {
            var isComplete = try first.test(call)
            for index in others.indices where try !others[index].test(call) { isComplete = false }
            return isComplete
        } catch {
            forget()
            throw error
        }
    }

    /// Gives the operation up without waiting: only on the way to an abort, so that the error that leads there is
    /// not hidden by a complaint about this request.
    public consuming func abandon() { forget() }

    private mutating func forget() {
        first = RequestPart()
        others = []
    }

    deinit {
        if first.isPending || others.contains(where: \.isPending) {
            fatalError("a request of \(call) was dropped before it was complete: wait for it")
        }
    }
}

/// One MPI request, which MPI sets to its null request when the operation is complete.
struct RequestPart {
    var handle: MPI_Request? = lockstep_mpi_request_null()
    /// What a receive must find; nil for other operations.
    var expected: (count: Int32, type: ElementType)?

    var isPending: Bool { handle != lockstep_mpi_request_null() }

    mutating func wait(_ call: StaticString) throws {
        guard isPending else { return }
        var status = MPI_Status()
        try check(MPI_Wait(&handle, &status), call)
        try checkReceived(status, call)
    }

    mutating func test(_ call: StaticString) throws -> Bool {
        guard isPending else { return true }
        var status = MPI_Status()
        var isComplete: Int32 = 0
        try check(MPI_Test(&handle, &isComplete, &status), call)
        if isComplete != 0 { try checkReceived(status, call) }
        return isComplete != 0
    }

    private func checkReceived(_ status: MPI_Status, _ call: StaticString) throws {
        guard let (count, type) = expected else { return }
        try MessagePassing.checkReceived(status, count: count, type, call)
    }
}

/// Throws when the message that `status` describes does not have `count` elements.
func checkReceived(_ status: MPI_Status, count: Int32, _ type: ElementType, _ call: StaticString) throws {
    var status = status
    var received: Int32 = 0
    try check(MPI_Get_count(&status, type.datatype, &received), "MPI_Get_count")
    try checkLength(
        Int(received), expected: Int(count), of: "the message from rank \(status.MPI_SOURCE)", in: call)
}
