import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times reductions as training does them, over sizes from a small model's gradients to a large one's, in rounds between
/// which other things are measured, since their speed changes within minutes.
struct ReductionSweep {
    private static let sizes = [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
    /// Bytes that may no longer fit a core's own caches.
    private static let leastCold = 1 << 20
    /// Seconds of a reduction from which on no larger one is tried: a slow network shows its rate sooner.
    private static let longest = 0.2

    private let pool: OperandPool
    /// By size, of all rounds: sums, then those of which both halves come from memory.
    private let times: RelativeTimes

    /// - Parameter meter: takes samples between the sizes.
    init(pool: OperandPool, meter: ReferenceMeter) {
        self.pool = pool
        times = RelativeTimes(count: 2 * Self.sizes.count, meter: meter)
    }

    /// Measures a round. Collective over `ranks`.
    func measure(_ topology: Topology, on ranks: borrowing Communicator) throws {
        guard ranks.size > 1 else { return }
        let gradients = try AlignedBuffer<Float>(count: Self.sizes.last! / 4)
        try times.restartTogether()
        for (index, bytes) in Self.sizes.enumerated() {
            let vector = gradients.vector.slice(0..<bytes / 4)
            let longestTime = try measureSums(of: vector, as: index, topology, on: ranks)
            // What a network takes does not depend on where the bytes come from.
            if topology.hosts == 1, bytes >= Self.leastCold {
                try measureCold(of: vector, as: Self.sizes.count + index, topology, on: ranks)
            }
            pool.passThroughCaches()
            try times.closeTogether()
            if longestTime > Self.longest { break }
        }
    }

    private func measureSums(
        of vector: Vector, as index: Int, _ topology: Topology, on ranks: borrowing Communicator
    ) throws -> Double {
        var reduction = try BucketedCollective(
            .allreduce, vector, bucketBytes: bucketBytes(ranks.size), over: topology)
        var longest = 0.0
        for repetition in 0..<5 {
            // As after a backward pass, each rank has written its own, and much else since.
            Reductions.fill(vector, with: 1)
            let time = try timeBehindOtherWork(on: ranks) { try reduction.finish() }
            if repetition > 0 { times.add(.init(repeating: time), of: index) }
            longest = max(longest, time)
        }
        return longest
    }

    /// As with a sharded optimizer, whose update comes between both halves.
    private func measureCold(
        of vector: Vector, as index: Int, _ topology: Topology, on ranks: borrowing Communicator
    ) throws {
        let bucketBytes = bucketBytes(ranks.size)
        var sums = try BucketedCollective(.reduceScatter, vector, bucketBytes: bucketBytes, over: topology)
        var copies = try BucketedCollective(.allgather, vector, bucketBytes: bucketBytes, over: topology)
        for repetition in 0..<4 {
            Reductions.fill(vector, with: 1)
            let time =
                try timeBehindOtherWork(on: ranks) { try sums.finish() }
                + timeBehindOtherWork(on: ranks) { try copies.finish() }
            if repetition > 0 { times.add(.init(repeating: time), of: index) }
        }
    }

    private func timeBehindOtherWork(
        on ranks: borrowing Communicator, _ body: () throws -> Void
    ) throws -> Double {
        pool.passThroughCaches()
        try ranks.barrier()
        return try mean(seconds(body), on: ranks)
    }

    private func bucketBytes(_ ranks: Int) -> Int { ParallelConfig().bucketBytes(ranks: ranks) }

    /// The model fitted to all rounds, at least one, of two ranks or more: within a host when they are as fast as
    /// `reference` says. Collective.
    func model(
        _ topology: Topology, at reference: ReferenceSpeed, on ranks: borrowing Communicator
    ) throws -> ReductionModel {
        func samples(isCold: Bool) throws -> [ReductionModel.Sample] {
            var samples: [ReductionModel.Sample] = []
            for (index, bytes) in Self.sizes.enumerated() {
                let index = isCold ? Self.sizes.count + index : index
                let ofCaches = isCold ? 0 : HostExchange(bytes: bytes, isSharded: false).cachedShare
                let seconds =
                    topology.hosts == 1
                    ? try times.reduction(
                        index, isSharded: isCold, ofCaches: ofCaches, at: reference, on: ranks)
                    : times.median(of: index)
                if let seconds { samples.append(.init(bytes: bytes, seconds: seconds)) }
            }
            return samples
        }
        return ReductionModel(
            algorithm: topology.reduction.rawValue, ranks: ranks.size, hosts: topology.hosts,
            samples: try samples(isCold: false), coldSamples: try samples(isCold: true),
            bucketBytes: bucketBytes(ranks.size))
    }
}
