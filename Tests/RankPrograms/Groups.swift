import Foundation
import MessagePassing

/// Even and odd ranks part, in descending order.
func split(_ world: borrowing Communicator) throws {
    let half = try world.split(color: Int32(world.rank % 2), key: Int32(-world.rank))
    let members = (0..<world.size).filter { $0 % 2 == world.rank % 2 }.reversed().map { Int32($0) }
    try require(half.size, equals: members.count, "size of the half")
    try require(half.rank, equals: members.firstIndex(of: Int32(world.rank))!, "rank in the half")
    let mine = [Int32(world.rank)]
    var all = [Int32](repeating: -1, count: half.size)
    try mine.withUnsafeBufferPointer { mine in
        try all.withUnsafeMutableBufferPointer { try half.allgather(mine, into: $0) }
    }
    try require(all, equals: Array(members), "members of the half")
}

/// Duplicates are freed at the end of their scope: alone, where they are cheap, the rank makes more of them than
/// OpenMPI has room for at once, which is 65,532.
func duplicate(_ world: borrowing Communicator) throws {
    for _ in 0..<(world.size == 1 ? 70_000 : 100) {
        let copy = try world.duplicate()
        try require(copy.rank, equals: world.rank, "rank in the duplicate")
        try require(copy.size, equals: world.size, "size of the duplicate")
    }
    try world.barrier()
}

func environment(_ world: borrowing Communicator) throws {
    let environment = try MPIEnvironment(world)
    try require(environment.localRank, equals: world.rank, "local rank on a single host")
    try require(environment.localSize, equals: world.size, "local size on a single host")
    try require(!environment.hostName.isEmpty, "the host has no name")
    try require(environment.libraryVersion.contains("MPI"), "unlikely version: \(environment.libraryVersion)")
}

/// A process that was started alone is alone: Open MPI has started nothing for it, and has put nothing into the folder for
/// temporary files, which is empty.
func alone(_ world: borrowing Communicator) throws {
    try require(world.size, equals: 1, "processes")
    let children = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { entry in
        guard let text = try? String(contentsOfFile: "/proc/\(entry)/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return false }
        return text[name...].split(separator: " ")[2] == "\(getpid())"
    }
    try require(children, equals: [], "children")
    let files = try FileManager.default.contentsOfDirectory(atPath: NSTemporaryDirectory())
    try require(files, equals: [], "temporary files")
}

/// Counts what each operation was handed, on the communicator it was called on.
func payload(_ world: borrowing Communicator) throws {
    let group = try world.duplicate(chunkLength: 3)
    let alone = group.size == 1
    var expected = 0
    func expect(_ bytes: Int, _ what: String) throws {
        expected += alone ? 0 : bytes
        try require(group.payloadBytes, equals: expected, "payload after \(what)")
    }
    var floats = [Float](repeating: 0, count: 7)
    var doubles = [Double](repeating: 0, count: 7 * group.size)
    try floats.withUnsafeMutableBufferPointer { floats in
        try group.allreduce(inPlace: floats)
        try expect(28, "allreduce in place")
        try group.broadcast(floats, from: 0)
        try expect(group.rank == 0 ? 28 : 0, "broadcast")
        let receiving = try group.startReceive(into: floats, from: group.rank)
        try [Float](repeating: 1, count: 7).withUnsafeBufferPointer {
            try group.startSend($0, to: group.rank).wait()
        }
        try receiving.wait()
        try expect(28, "a send to itself")
    }
    try doubles.withUnsafeMutableBufferPointer { all in
        let mine = UnsafeBufferPointer(rebasing: all[0..<7])
        var own = [Double](repeating: 0, count: 7)
        try own.withUnsafeMutableBufferPointer { own in
            try group.allreduce(mine, into: own)
            try expect(56, "allreduce")
            try group.reduce(mine, into: own, root: 0)
            try expect(56, "reduce")
            try group.allgather(UnsafeBufferPointer(own), into: all)
            try expect(56, "allgather")
            try group.gather(UnsafeBufferPointer(own), into: all, root: 0)
            try expect(56, "gather")
            try group.scatter(UnsafeBufferPointer(all), into: own, root: 0)
            try expect(group.rank == 0 ? 56 * group.size : 0, "scatter")
        }
    }
    try group.collectively {}
    try group.barrier()
    try expect(0, "agreement and barrier")
    try require(world.payloadBytes, equals: 0, "payload of the world")
}
