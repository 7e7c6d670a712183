import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times reductions as training does them, over sizes from a small model's gradients to a large one's, in rounds between
/// which other things are measured, each beside the reference exchange: their speed changes within minutes.
struct ReductionSweep {
    let pool: OperandPool
    let meter: ReferenceMeter
    /// By size, of all rounds: seconds, and the rate of the exchange at the time; nil where there is none.
    private var samples: [Int: [(seconds: Double, rate: Double?)]] = [:]
    /// Seconds of a reduction from which on no larger one is tried: a slow network shows its rate sooner.
    private let longest = 0.2

    init(pool: OperandPool, meter: ReferenceMeter) {
        self.pool = pool
        self.meter = meter
    }

    /// Measures a round. Collective over `ranks`.
    mutating func measure(_ topology: Topology, on ranks: borrowing Communicator) throws {
        guard ranks.size > 1 else { return }
        let sizes = [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
        let bucketBytes = ParallelConfig().bucketBytes(ranks: ranks.size)
        let gradients = try AlignedBuffer<Float>(count: sizes.last! / 4)
        for bytes in sizes {
            let vector = gradients.vector.slice(0..<bytes / 4)
            var reduction = try BucketedCollective(
                .allreduce, vector, bucketBytes: bucketBytes, over: topology)
            var times: [Double] = []
            let before = try exchangeRate(on: ranks)
            for _ in 0..<5 {
                // As after a backward pass, each rank has written its own, and much else since.
                Reductions.fill(vector, with: 1)
                pool.passThroughCaches()
                try ranks.barrier()
                times.append(try mean(seconds { try reduction.finish() }, on: ranks))
            }
            let after = try exchangeRate(on: ranks)
            let rate = before.flatMap { before in after.map { (before + $0) / 2 } }
            samples[bytes, default: []] += times.dropFirst().map { ($0, rate) }
            if times.contains(where: { $0 > longest }) { break }
        }
    }

    /// Bytes per second of the reference exchange; nil where there is none. Collective.
    private func exchangeRate(on ranks: borrowing Communicator) throws -> Double? {
        try meter.sampleExchange().map { try mean($0, on: ranks) }
    }

    /// The model fitted to all rounds, at least one, of two ranks or more.
    ///
    /// - Parameter rate: of the exchange, that it is to hold at; nil where there is none.
    func model(_ topology: Topology, ranks: Int, at rate: Double?) -> ReductionModel {
        let samples = samples.map { bytes, samples in
            let seconds = samples.map { sample in
                guard let rate, let then = sample.rate else { return sample.seconds }
                let later = ReferenceDrift.reductionSecondsPerByte(at: then, from: rate) * Double(bytes)
                return max(sample.seconds / 4, sample.seconds - later)
            }
            return ReductionModel.Sample(bytes: bytes, seconds: seconds.median)
        }
        return ReductionModel(
            algorithm: topology.reduction.rawValue, ranks: ranks, hosts: topology.hosts, samples: samples,
            bucketBytes: ParallelConfig().bucketBytes(ranks: ranks))
    }
}
