internal import CMPI

extension Communicator {
    /// Tags above this one are taken by operations that are built from sends and receives.
    public static var maximumTag: Int32 { 32_766 }  // MPI guarantees tags up to 32,767.
    private static var internalTag: Int32 { maximumTag + 1 }

    /// Sends `elements` to `rank`; returns when the buffer may be used again, which can be before they are received.
    public func send<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, to rank: Int, tag: Int32 = 0
    ) throws {
        try send(counting: Elements(reading: elements), to: rank, tag: checked(tag))
    }

    /// Receives a message from `rank` that must have exactly the length of `buffer`.
    public func receive<Element: MessageElement>(
        into buffer: UnsafeMutableBufferPointer<Element>, from rank: Int, tag: Int32 = 0
    ) throws {
        try receive(into: Elements(buffer), from: rank, tag: checked(tag))
    }

    /// Starts to send `elements` to `rank`.
    public func startSend<Element: MessageElement>(
        _ elements: UnsafeBufferPointer<Element>, to rank: Int, tag: Int32 = 0
    ) throws -> Request {
        try startSend(Elements(reading: elements), to: rank, tag: checked(tag))
    }

    /// Starts to receive a message from `rank` that must have exactly the length of `buffer`.
    public func startReceive<Element: MessageElement>(
        into buffer: UnsafeMutableBufferPointer<Element>, from rank: Int, tag: Int32 = 0
    ) throws -> Request {
        try startReceive(into: Elements(buffer), from: rank, tag: checked(tag))
    }

    func startSend(_ elements: Elements, to rank: Int, tag: Int32) throws -> Request {
        count(elements)
        return try start(elements, "MPI_Isend") { piece, count, request in
            MPI_Isend(piece, count, elements.type.datatype, rank.mpiRank, tag, handle, &request)
        }
    }

    func startReceive(into elements: Elements, from rank: Int, tag: Int32) throws -> Request {
        try start(elements, "MPI_Irecv", receives: true) { piece, count, request in
            MPI_Irecv(piece, count, elements.type.datatype, rank.mpiRank, tag, handle, &request)
        }
    }

    /// Sends `elements` as part of an operation that is built from sends and receives.
    func sendInternally(_ elements: Elements, to rank: Int) throws {
        try send(elements, to: rank, tag: Self.internalTag)
    }

    /// Receives what `sendInternally` sent.
    func receiveInternally(into elements: Elements, from rank: Int) throws {
        try receive(into: elements, from: rank, tag: Self.internalTag)
    }

    /// One request for the MPI requests that `begin` makes of every chunk of `elements`.
    func start(
        _ elements: Elements, _ call: StaticString, receives: Bool = false,
        _ begin: (UnsafeMutableRawPointer?, Int32, inout MPI_Request?) -> Int32
    ) throws -> Request {
        var request = Request(call: call)
        for chunk in chunks(elements.count) {
            var part = RequestPart(expected: receives ? (chunk.count, elements.type) : nil)
            let code = begin(elements.address(chunk.offset), chunk.count, &part.handle)
            guard code == MPI_SUCCESS else {
                request.abandon()
                throw MPIError(code: code, call: call)
            }
            request.add(part)
        }
        return request
    }

    private func send(counting elements: Elements, to rank: Int, tag: Int32) throws {
        count(elements)
        try send(elements, to: rank, tag: tag)
    }

    private func send(_ elements: Elements, to rank: Int, tag: Int32) throws {
        for chunk in chunks(elements.count) {
            try check(
                MPI_Send(
                    elements.address(chunk.offset), chunk.count, elements.type.datatype, rank.mpiRank, tag,
                    handle),
                "MPI_Send")
        }
    }

    private func receive(into elements: Elements, from rank: Int, tag: Int32) throws {
        for chunk in chunks(elements.count) {
            var status = MPI_Status()
            try check(
                MPI_Recv(
                    elements.address(chunk.offset), chunk.count, elements.type.datatype, rank.mpiRank, tag,
                    handle, &status),
                "MPI_Recv")
            try checkReceived(status, count: chunk.count, elements.type, "MPI_Recv")
        }
    }

    private func checked(_ tag: Int32) -> Int32 {
        precondition((0...Self.maximumTag).contains(tag), "tags are 0 to \(Self.maximumTag), not \(tag)")
        return tag
    }
}
