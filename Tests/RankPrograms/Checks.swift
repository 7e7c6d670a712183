import MessagePassing

/// A result that is not what it should be, or a failure that a program makes on purpose.
struct ProgramFailure: Error, CustomStringConvertible {
    let description: String
    var exitCode: Int32 = 1
}

/// Throws unless `condition` holds.
func require(_ condition: Bool, _ what: @autoclosure () -> String) throws {
    if !condition { throw ProgramFailure(description: what()) }
}

/// Throws unless the values are equal.
func require<Value: Equatable>(_ actual: Value, equals expected: Value, _ what: @autoclosure () -> String)
    throws
{
    try require(actual == expected, "\(what()) is \(actual) instead of \(expected)")
}

/// Throws unless `body` throws a `Failure`; returns that.
func requireThrown<Failure: Error>(
    _: Failure.Type, _ what: @autoclosure () -> String, _ body: () throws -> Void
) throws -> Failure {
    do {
        try body()
    } catch let failure as Failure {
        return failure
    }
    throw ProgramFailure(description: "\(what()) threw nothing")
}

/// A number that a message can carry.
typealias Number = MessageElement & Numeric & Comparable

/// `count` values that differ from index to index and rank to rank; four of them add up to less than 256.
func values<Element: Number>(_ count: Int, rank: Int) -> [Element] {
    (0..<count).map { Element(exactly: (7 * $0 + 11 * rank + $0 / 5) % 61)! }
}

/// The reduction of `values(count, rank:)` over all ranks, computed here.
func reduced<Element: Number>(_ count: Int, ranks: Int, _ operation: ReduceOperation) -> [Element] {
    let all = (0..<ranks).map { rank -> [Element] in values(count, rank: rank) }
    return (0..<count).map { index in
        let column = all.map { $0[index] }
        return switch operation {
        case .sum: column.reduce(0, +)
        case .min: column.min()!
        case .max: column.max()!
        }
    }
}

/// Lengths around the chunk length of `forEachGroup`, and some beyond.
let lengths = [0, 1, 2, 3, 4, 7, 64, 257]

/// Runs `body` on the world and on a duplicate of it that sends at most three elements at once.
func forEachGroup(_ world: borrowing Communicator, _ body: (borrowing Communicator) throws -> Void) throws {
    try body(world)
    let chunked = try world.duplicate(chunkLength: 3)
    try body(chunked)
}

let operations: [ReduceOperation] = [.sum, .min, .max]
