import Configs
import MessagePassing
import Training

/// Three passes of each kind under way at once, in turn with each other, on several groups.
func ringPasses(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        for part in [0, 1, 5, 40] {
            let count = part * group.size
            let mine: [Float] = values(count, rank: group.rank)
            let expected: [Float] = reduced(count, ranks: group.size, .sum)
            var buffer = mine + mine + mine
            for kind in [RingPass.Kind.reduceScatter, .allgather] {
                let before = group.payloadBytes
                try runThree(kind, &buffer, part: part, on: group)
                let sent = group.payloadBytes - before
                try require(sent, equals: 3 * 4 * part * (group.size - 1), "bytes sent by \(kind)")
            }
            try require(buffer, equals: expected + expected + expected, "three ring sums of \(count)")
        }
        try requireLengthsAreChecked(group)
    }
}

private func runThree(
    _ kind: RingPass.Kind, _ buffer: inout [Float], part: Int, on group: borrowing Communicator
) throws {
    let count = buffer.count / 3
    let scratch = UnsafeMutableBufferPointer<Float>.allocate(capacity: 3 * part)
    defer { scratch.deallocate() }
    try buffer.withUnsafeMutableBufferPointer { buffer in
        func pass(_ index: Int) throws -> RingPass {
            try RingPass(
                kind, .init(rebasing: buffer[index * count..<(index + 1) * count]),
                scratch: .init(rebasing: scratch[index * part..<(index + 1) * part]), tag: Int32(index),
                on: group)
        }
        var first = try pass(0)
        var second = try pass(1)
        var third = try pass(2)
        var isComplete = false
        while !isComplete {
            let (a, b) = try (third.advance(on: group), first.advance(on: group))
            isComplete = try second.advance(on: group) && a && b
        }
    }
    let own = part * group.rank..<part * (group.rank + 1)
    let expected: [Float] = reduced(count, ranks: group.size, .sum)
    try require(buffer[own] == expected[own], "\(kind): the own part is wrong")
}

private func requireLengthsAreChecked(_ group: borrowing Communicator) throws {
    guard group.size > 1 else { return }
    var buffer = [Float](repeating: 0, count: 2 * group.size)
    let whole = buffer.count
    try buffer.withUnsafeMutableBufferPointer { buffer in
        _ = try requireThrown(LengthMismatch.self, "a buffer that cannot be cut") {
            _ = try RingPass(
                .allgather, .init(rebasing: buffer[..<(whole - 1)]), scratch: buffer, tag: 0, on: group)
        }
        _ = try requireThrown(LengthMismatch.self, "scratch of less than a part") {
            _ = try RingPass(
                .reduceScatter, buffer, scratch: .init(rebasing: buffer[..<1]), tag: 0, on: group)
        }
    }
}
