import MessagePassing

/// A message of seven in chunks of three is three messages to a receiver that asks for them one by one.
func chunkedMessages(_ world: borrowing Communicator) throws {
    let group = try world.duplicate(chunkLength: 3)
    let next = (group.rank + 1) % group.size
    let previous = (group.rank + group.size - 1) % group.size
    let sent: [Int32] = values(7, rank: group.rank)
    var received = [Int32](repeating: -1, count: 7)
    try sent.withUnsafeBufferPointer { sent in
        let sending = try group.startSend(sent, to: next)
        try received.withUnsafeMutableBufferPointer { target in
            for piece in [0..<3, 3..<6, 6..<7] {
                try group.receive(into: .init(rebasing: target[piece]), from: previous)
            }
        }
        try sending.wait()
    }
    try require(received, equals: values(7, rank: previous), "seven in three pieces")
}

/// Rank 0 reduces or broadcasts seven at once, the others three, three and one.
func chunkedCollectives(_ world: borrowing Communicator) throws {
    let group = try world.duplicate(chunkLength: 3)
    let pieces = group.rank == 0 ? [0..<7] : [0..<3, 3..<6, 6..<7]
    let mine: [Int32] = values(7, rank: group.rank)
    let sum: [Int32] = reduced(7, ranks: group.size, .sum)

    var buffer = mine
    try buffer.withUnsafeMutableBufferPointer { buffer in
        for piece in pieces { try group.allreduce(inPlace: .init(rebasing: buffer[piece])) }
    }
    try require(buffer, equals: sum, "allreduce in pieces")

    buffer = mine
    try buffer.withUnsafeMutableBufferPointer { buffer in
        for piece in pieces { try group.broadcast(.init(rebasing: buffer[piece]), from: 0) }
    }
    try require(buffer, equals: values(7, rank: 0), "broadcast in pieces")

    buffer = [Int32](repeating: -1, count: 7)
    try buffer.withUnsafeMutableBufferPointer { buffer in
        try mine.withUnsafeBufferPointer { mine in
            for piece in pieces {
                try group.reduce(
                    .init(rebasing: mine[piece]),
                    into: group.rank == 0 ? .init(rebasing: buffer[piece]) : nil,
                    root: 0)
            }
        }
    }
    if group.rank == 0 { try require(buffer, equals: sum, "reduce in pieces") }
}

/// More elements than a C int can count.
func aboveIntCount(_ world: borrowing Communicator) throws {
    let count = Int(Int32.max) + 6
    let probes = [0, 1, 1 << 20, count - 7, count - 6, count - 1]
    let buffer = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: count)
    defer { buffer.deallocate() }
    func requireEverywhere(_ value: UInt8, _ what: String) throws {
        for probe in probes { try require(buffer[probe], equals: value, "\(what) at \(probe)") }
    }

    buffer.initialize(repeating: UInt8(world.rank + 1))
    try world.allreduce(inPlace: buffer, .sum)
    try requireEverywhere(UInt8(world.size * (world.size + 1) / 2), "sum")

    buffer.update(repeating: UInt8(world.rank + 7))
    try world.broadcast(buffer, from: world.size - 1)
    try requireEverywhere(UInt8(world.size + 6), "broadcast")

    if world.rank == 0, world.size > 1 {
        buffer.update(repeating: 9)
        try world.send(UnsafeBufferPointer(buffer), to: 1)
    } else if world.rank == 1 {
        try world.receive(into: buffer, from: 0)
        try requireEverywhere(9, "message")
    }
}
