import Foundation
import MessagePassing

/// No rank leaves the barrier before the slowest has come.
func barrier(_ world: borrowing Communicator) throws {
    if world.rank == world.size - 1 { Thread.sleep(forTimeInterval: 0.2) }
    var arrival = [Date().timeIntervalSince1970]
    try world.barrier()
    let departure = Date().timeIntervalSince1970
    try arrival.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .max) }
    try require(departure >= arrival[0], "left the barrier before the last rank had come")
}

func broadcast(_ world: borrowing Communicator) throws {
    try broadcast(world, Float.self)
    try broadcast(world, Double.self)
    try broadcast(world, Int32.self)
    try broadcast(world, Int64.self)
    try broadcast(world, UInt8.self)
}

private func broadcast<Element: Number>(_ world: borrowing Communicator, _: Element.Type) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            for root in 0..<group.size {
                var buffer: [Element] = values(length, rank: group.rank)
                try buffer.withUnsafeMutableBufferPointer { try group.broadcast($0, from: root) }
                try require(buffer, equals: values(length, rank: root), "broadcast from \(root)")
            }
        }
    }
}

func reduce(_ world: borrowing Communicator) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            for operation in operations {
                for root in 0..<group.size {
                    let mine: [Int64] = values(length, rank: group.rank)
                    var result = [Int64](repeating: -1, count: length)
                    try mine.withUnsafeBufferPointer { mine in
                        try result.withUnsafeMutableBufferPointer {
                            try group.reduce(mine, into: group.rank == root ? $0 : nil, operation, root: root)
                        }
                    }
                    let expected: [Int64] =
                        group.rank == root
                        ? reduced(length, ranks: group.size, operation) : .init(repeating: -1, count: length)
                    try require(result, equals: expected, "\(operation) at root \(root)")
                }
            }
        }
    }
}

func allreduce(_ world: borrowing Communicator) throws {
    try forEachAllreduce(world, OutOfPlace())
}

func allreduceInPlace(_ world: borrowing Communicator) throws {
    try forEachAllreduce(world, InPlace())
}

/// One of the two forms of an allreduce.
private protocol AllreduceForm {
    func apply<Element: Number>(
        _ group: borrowing Communicator, _ values: [Element], _ operation: ReduceOperation
    ) throws -> [Element]
}

private struct OutOfPlace: AllreduceForm {
    func apply<Element: Number>(
        _ group: borrowing Communicator, _ values: [Element], _ operation: ReduceOperation
    ) throws -> [Element] {
        var result = [Element](repeating: 0, count: values.count)
        try values.withUnsafeBufferPointer { values in
            try result.withUnsafeMutableBufferPointer { try group.allreduce(values, into: $0, operation) }
        }
        return result
    }
}

private struct InPlace: AllreduceForm {
    func apply<Element: Number>(
        _ group: borrowing Communicator, _ values: [Element], _ operation: ReduceOperation
    ) throws -> [Element] {
        var buffer = values
        try buffer.withUnsafeMutableBufferPointer { try group.allreduce(inPlace: $0, operation) }
        return buffer
    }
}

private func forEachAllreduce(_ world: borrowing Communicator, _ form: some AllreduceForm) throws {
    try check(world, form, Float.self)
    try check(world, form, Double.self)
    try check(world, form, Int32.self)
    try check(world, form, Int64.self)
    try check(world, form, UInt8.self)
}

private func check<Element: Number>(
    _ world: borrowing Communicator, _ form: some AllreduceForm, _: Element.Type
) throws {
    try forEachGroup(world) { group in
        for length in lengths {
            for operation in operations {
                let result = try form.apply(group, values(length, rank: group.rank) as [Element], operation)
                try require(
                    result, equals: reduced(length, ranks: group.size, operation),
                    "\(operation) of \(length) \(Element.self)")
            }
        }
    }
}
