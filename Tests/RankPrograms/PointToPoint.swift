import MessagePassing

/// Messages go up the ranks, each checked on arrival.
func sendAndReceive(_ world: borrowing Communicator) throws {
    try sendAndReceive(world, Float.self)
    try sendAndReceive(world, Double.self)
    try sendAndReceive(world, Int32.self)
    try sendAndReceive(world, Int64.self)
    try sendAndReceive(world, UInt8.self)
}

private func sendAndReceive<Element: Number>(_ world: borrowing Communicator, _: Element.Type) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            if group.rank > 0 {
                var received = [Element](repeating: 0, count: length)
                try received.withUnsafeMutableBufferPointer {
                    try group.receive(into: $0, from: group.rank - 1, tag: 5)
                }
                try require(
                    received, equals: values(length, rank: group.rank - 1),
                    "\(length) received \(Element.self)")
            }
            if group.rank + 1 < group.size {
                let sent: [Element] = values(length, rank: group.rank)
                try sent.withUnsafeBufferPointer { try group.send($0, to: group.rank + 1, tag: 5) }
            }
        }
    }
}

/// A ring, the rank itself in a world of one: both directions are under way at once; one is tested, one waited for.
func startSendAndReceive(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        let next = (group.rank + 1) % group.size
        let previous = (group.rank + group.size - 1) % group.size
        for length in lengths {
            let sent: [Double] = values(length, rank: group.rank)
            var received = [Double](repeating: -1, count: length)
            try received.withUnsafeMutableBufferPointer { target in
                var receiving = try group.startReceive(into: target, from: previous)
                try sent.withUnsafeBufferPointer { try group.startSend($0, to: next).wait() }
                while try !receiving.test() {}
                try require(try receiving.test(), "a second test of a complete request")
                try receiving.wait()
            }
            try require(received, equals: values(length, rank: previous), "what came around the ring")
        }
    }
}

/// Tags and communicators keep messages apart, whatever the order in which they are received.
func separateMessages(_ world: borrowing Communicator) throws {
    let other = try world.duplicate()
    let next = (world.rank + 1) % world.size
    let previous = (world.rank + world.size - 1) % world.size
    let sent: [Int32] = [10, 20, 30]
    var received: [Int32] = [0, 0, 0]
    try sent.withUnsafeBufferPointer { sent in
        let first = try world.startSend(.init(rebasing: sent[0..<1]), to: next, tag: 1)
        let second = try world.startSend(.init(rebasing: sent[1..<2]), to: next, tag: 2)
        let third = try other.startSend(.init(rebasing: sent[2..<3]), to: next, tag: 1)
        try received.withUnsafeMutableBufferPointer { received in
            try other.receive(into: .init(rebasing: received[2..<3]), from: previous, tag: 1)
            try world.receive(into: .init(rebasing: received[1..<2]), from: previous, tag: 2)
            try world.receive(into: .init(rebasing: received[0..<1]), from: previous, tag: 1)
        }
        try first.wait()
        try second.wait()
        try third.wait()
    }
    try require(received, equals: sent, "messages by tag and communicator")
}
