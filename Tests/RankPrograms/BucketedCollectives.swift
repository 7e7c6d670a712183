import Configs
import Kernels
import MessagePassing
import Training

/// Sums over the ring and over two made-up hosts, of arenas of all kinds of lengths in buckets of a few elements, started
/// in pieces as backward would: on every rank the elements that are in buckets become the sum, the same in every run.
func bucketedCollectives(_ world: borrowing Communicator) throws {
    try forEachTopology(world) { topology, name in
        for count in [0, 1, world.size - 1, world.size, 7, 64, 257, 50_001] {
            // From one element a rank to several buckets in turn.
            for bucketBytes in [4, 100, 16_384] where count * 4 < 64 * bucketBytes {
                let label = "\(name), \(count) elements in buckets of \(bucketBytes) bytes"
                try checkSums(count, bucketBytes: bucketBytes, over: topology, world, label)
            }
        }
    }
}

/// A rank more on one host than on the others cannot be reduced in levels, and is in a ring.
func unevenHosts(_ world: borrowing Communicator) throws {
    func host() throws -> Communicator { try world.split(color: world.rank == 0 ? 0 : 1, key: 0) }
    let failure = try requireThrown(CollectiveFailure.self, "a hierarchy over uneven hosts") {
        _ = try Topology(.hierarchical, host: host(), world: world)
    }
    try require(failure.exitCode, equals: 78, "exit code")
    if let text = failure.underlying.map({ "\($0)" }) {
        try require(
            text.contains("parallel.reduction") && text.contains("from 1 to \(world.size - 1)"),
            "the refusal says: \(text)")
    }
    try require(Topology(.auto, host: host(), world: world).reduction, equals: .ring, "automatic choice")
}

private func checkSums(
    _ count: Int, bucketBytes: Int, over topology: Topology, _ world: borrowing Communicator, _ label: String
) throws {
    let arena = try AlignedBuffer<Float>(count: count)
    var allreduce = try BucketedCollective(
        .allreduce, arena.vector, bucketBytes: bucketBytes, over: topology)
    var scatter = try BucketedCollective(
        .reduceScatter, arena.vector, bucketBytes: bucketBytes, over: topology)
    var gather = try BucketedCollective(.allgather, arena.vector, bucketBytes: bucketBytes, over: topology)
    let inBuckets = count % world.size..<count

    for round in 0..<3 {
        let mine: [Float] = values(count, rank: world.rank).map { $0 / 7 }
        for index in 0..<count { arena.base[index] = mine[index] }
        if round < 2 {
            for offset in stride(from: count, through: 0, by: -50) { try allreduce.advance(from: offset) }
            try allreduce.finish()
        } else {
            try scatter.finish()
            try gather.finish()
        }
        let sums = (0..<count).map { arena.base[$0] }
        let exact: [Float] = reduced(count, ranks: world.size, .sum)
        for index in inBuckets {
            try require(abs(sums[index] - exact[index] / 7) < 1e-4, "\(label), round \(round): \(index)")
        }
        for index in 0..<inBuckets.lowerBound {
            try require(sums[index] == mine[index], "\(label): the remainder has changed")
        }
        try requireSameOnAllRanks(sums[inBuckets].map(\.bitPattern), world, "\(label), round \(round)")
    }
}

private func requireSameOnAllRanks(
    _ bits: [UInt32], _ world: borrowing Communicator, _ label: String
) throws {
    let own = bits.map { Int64($0) }
    var most = own
    var least = own
    try most.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .max) }
    try least.withUnsafeMutableBufferPointer { try world.allreduce(inPlace: $0, .min) }
    try require(most == least, "\(label): the sums differ between ranks")
}

/// The ring, and two hosts of half of the ranks each, next to each other and by turns, where their number is even.
func forEachTopology(
    _ world: borrowing Communicator, _ body: (Topology, String) throws -> Void
) throws {
    try body(Topology(.auto, world: world), "ring")
    guard world.size % 2 == 0 else { return }
    let half = Int32(world.rank / (world.size / 2))
    try body(Topology(.auto, host: world.split(color: half, key: 0), world: world), "halves")
    let parity = Int32(world.rank % 2)
    try body(
        Topology(.hierarchical, host: world.split(color: parity, key: 0), world: world), "even and odd")
}
