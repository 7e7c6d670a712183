import MessagePassing

/// Buffers that do not fit each other are refused before anything is sent.
func lengthMismatch(_ world: borrowing Communicator) throws {
    let three = UnsafeMutableBufferPointer<Float>.allocate(capacity: 3)
    let five = UnsafeMutableBufferPointer<Float>.allocate(capacity: 5 * world.size)
    defer {
        three.deallocate()
        five.deallocate()
    }
    three.initialize(repeating: 1)
    five.initialize(repeating: 2)
    func refuses(_ call: String, expected: Int, actual: Int, _ body: () throws -> Void) throws {
        let failure = try requireThrown(LengthMismatch.self, call, body)
        try require(failure.call, equals: call, "the operation in \(failure)")
        try require(failure.expected, equals: expected, "the expected length in \(failure)")
        try require(failure.actual, equals: actual, "the actual length in \(failure)")
    }
    let size = world.size
    let sent = UnsafeBufferPointer(three)
    try refuses("allreduce", expected: 3, actual: 5 * size) { try world.allreduce(sent, into: five) }
    try refuses("allgather", expected: 3 * size, actual: 5 * size) { try world.allgather(sent, into: five) }
    try refuses("gatherv", expected: 4, actual: 3) {
        try world.gatherv(sent, counts: .init(repeating: 4, count: size), into: five, root: 0)
    }
    try refuses("gatherv", expected: size, actual: size + 1) {
        try world.gatherv(sent, counts: .init(repeating: 3, count: size + 1), into: five, root: 0)
    }
    if world.rank == 0 {
        try refuses("reduce", expected: 3, actual: 5 * size) { try world.reduce(sent, into: five, root: 0) }
        try refuses("reduce", expected: 3, actual: 0) { try world.reduce(sent, into: nil, root: 0) }
        try refuses("gather", expected: 3 * size, actual: 5 * size) {
            try world.gather(sent, into: five, root: 0)
        }
        try refuses("gatherv", expected: 3 * size, actual: 5 * size) {
            try world.gatherv(sent, counts: .init(repeating: 3, count: size), into: five, root: 0)
        }
        try refuses("scatter", expected: 3 * size, actual: 5 * size) {
            try world.scatter(UnsafeBufferPointer(five), into: three, root: 0)
        }
    }
    try world.barrier()
}

/// A message shorter or longer than the buffer it is received into.
func messageLengthMismatch(_ world: borrowing Communicator) throws {
    let next = (world.rank + 1) % world.size
    let previous = (world.rank + world.size - 1) % world.size
    let message = [Int64](repeating: 1, count: 4)
    var received = [Int64](repeating: 0, count: 6)
    func exchange(_ length: Int, _ receive: (UnsafeMutableBufferPointer<Int64>) throws -> Void) throws {
        try message.withUnsafeBufferPointer { message in
            let sending = try world.startSend(message, to: next)
            let outcome = Result {
                try received.withUnsafeMutableBufferPointer { try receive(.init(rebasing: $0[..<length])) }
            }
            try sending.wait()
            try outcome.get()
        }
    }
    let short = try requireThrown(LengthMismatch.self, "a receive of 6") {
        try exchange(6) { try world.receive(into: $0, from: previous) }
    }
    try require(short.expected == 6 && short.actual == 4, "\(short)")
    let started = try requireThrown(LengthMismatch.self, "a started receive of 6") {
        try exchange(6) { try world.startReceive(into: $0, from: previous).wait() }
    }
    try require(started.expected == 6 && started.actual == 4, "\(started)")
    let long = try requireThrown(MPIError.self, "a receive of 3") {
        try exchange(3) { try world.receive(into: $0, from: previous) }
    }
    try require(long.call == "MPI_Recv" && long.text.contains("truncate"), "\(long)")
    try world.barrier()
}

/// Ranks that do not exist, for which MPI itself has the words.
func refusedByMPI(_ world: borrowing Communicator) throws {
    let message: [UInt8] = [1]
    for rank in [world.size, -1, -2, Int.max, Int.min] {
        let failure = try requireThrown(MPIError.self, "a send to rank \(rank)") {
            try message.withUnsafeBufferPointer { try world.send($0, to: rank) }
        }
        try require(failure.call == "MPI_Send" && failure.text.contains("rank"), "\(failure)")
        let started = try requireThrown(MPIError.self, "a started send to rank \(rank)") {
            try message.withUnsafeBufferPointer { try world.startSend($0, to: rank).wait() }
        }
        try require(started.call == "MPI_Isend" && started.code != 0, "\(started)")
    }
    try world.barrier()
}

/// The error that leads to an abort is told, although a request is still under way.
func abandonedRequest(_ world: borrowing Communicator) throws {
    var buffer: [Float] = [0]
    try buffer.withUnsafeMutableBufferPointer { buffer in
        let request = try world.startReceive(into: buffer, from: world.rank)
        request.abandon()
        throw ProgramFailure(description: "gave up", exitCode: 72)
    }
}

/// A programmer's mistake, which stops the program.
func droppedRequest(_ world: borrowing Communicator) throws {
    var buffer: [Float] = [0]
    try buffer.withUnsafeMutableBufferPointer { buffer in
        _ = try world.startReceive(into: buffer, from: world.rank)
    }
}

/// The last rank throws while the others wait for it.
func oneRankThrows(_ world: borrowing Communicator) throws {
    if world.rank == world.size - 1 { throw ProgramFailure(description: "lost my way", exitCode: 71) }
    try world.barrier()
}

/// The same with communicators that are freed on the way out.
func oneRankThrowsInGroup(_ world: borrowing Communicator) throws {
    let group = try world.split(color: 0, key: 0)
    let other = try group.duplicate()
    try oneRankThrows(other)
}

/// Agreements in which nobody, one rank, and every rank fails, caught; the ranks stay in step.
func agreements(_ world: borrowing Communicator) throws {
    try require(try world.collectively { world.rank * 3 }, equals: world.rank * 3, "the value of the body")
    for first in 0..<world.size {
        for last in first..<world.size {
            let failure = try requireThrown(CollectiveFailure.self, "an agreement with failures") {
                try world.collectively {
                    if (first...last).contains(world.rank) {
                        throw ProgramFailure(
                            description: "rank \(world.rank)", exitCode: Int32(90 - world.rank))
                    }
                }
            }
            try require(failure.rank, equals: first, "the lowest failing rank")
            try require(failure.exitCode, equals: Int32(90 - first), "the code of the lowest failing rank")
            let voice = (failure.underlying as? ProgramFailure)?.description
            try require(voice, equals: world.rank == first ? "rank \(first)" : nil, "who speaks")
        }
    }
}

/// An agreement of a smaller group inside one of the world: the rank that carries the error keeps its voice.
func agreementInGroup(_ world: borrowing Communicator) throws {
    let group = try world.split(color: Int32(world.rank % 2), key: Int32(-world.rank))
    let lowest = (world.size - 1) % 2 == 0 ? world.size - 1 : world.size - 2
    let failing = max(lowest, 0)  // The highest even rank: rank 0 of its group, the only one to fail.
    let failure = try requireThrown(CollectiveFailure.self, "an agreement in an agreement") {
        try world.collectively {
            try group.collectively {
                if world.rank == failing { throw ProgramFailure(description: "deep", exitCode: 73) }
            }
        }
    }
    try require(failure.rank, equals: failing, "the rank with the voice")
    try require(failure.exitCode, equals: 73, "its code")
    try require(failure.underlying != nil, equals: world.rank == failing, "who speaks")
}

/// Every rank but the first fails, each with a message and a code of its own; alone, the first fails.
func collectiveFailure(_ world: borrowing Communicator) throws {
    try world.collectively {
        if world.rank > 0 || world.size == 1 {
            throw ProgramFailure(description: "says rank \(world.rank)", exitCode: 90 + Int32(world.rank))
        }
    }
}

/// The odd ranks agree that they have failed while the even ones, who know nothing of it, wait for them.
func groupFailure(_ world: borrowing Communicator) throws {
    let group = try world.split(color: Int32(world.rank % 2), key: 0)
    try group.collectively {
        if world.rank % 2 == 1 { throw ProgramFailure(description: "says rank \(world.rank)", exitCode: 74) }
    }
    try world.barrier()
}
