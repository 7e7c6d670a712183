import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times reductions as training does them, over sizes from a small model's gradients to a large one's.
struct ReductionSweep {
    let pool: OperandPool
    static let bucketBytes = 4 << 20
    /// Seconds of a reduction from which on no larger one is tried: a slow network shows its rate sooner.
    private let longest = 0.8

    /// The fitted model. Collective over `ranks`.
    func measure(_ topology: Topology, on ranks: borrowing Communicator) throws -> ReductionModel {
        let sizes = [1 << 14, 1 << 17, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
        let gradients = try AlignedBuffer<Float>(count: sizes.last! / 4)
        var samples: [ReductionModel.Sample] = []
        for bytes in sizes {
            let vector = gradients.vector.slice(0..<bytes / 4)
            var reduction = try BucketedCollective(
                .allreduce, vector, bucketBytes: Self.bucketBytes, over: topology)
            var times: [Double] = []
            for repetition in 0..<7 {
                // As after a backward pass, each rank has written its own, and much else since.
                Reductions.fill(vector, with: 1)
                pool.passThroughCaches()
                try ranks.barrier()
                let time = try seconds { try reduction.finish() }
                if repetition > 0 { times.append(time) }
            }
            let time = try mean(times.median, on: ranks)
            samples.append(.init(bytes: bytes, seconds: time))
            if time > longest { break }
        }
        return ReductionModel(
            algorithm: topology.reduction.rawValue, ranks: ranks.size, hosts: topology.hosts,
            samples: samples,
            bucketBytes: Self.bucketBytes)
    }

    /// What becomes of a reduction while the ranks multiply and now and then look after it. Collective.
    func measureOverlap(
        _ model: ReductionModel, _ topology: Topology, matmul: MatMul, on ranks: borrowing Communicator
    ) throws -> Profile.Overlap {
        let bytes = min(1 << 24, model.samples.last!.bytes)
        let alone = model.seconds(bytes: bytes, bucketBytes: Self.bucketBytes)
        let gradients = try AlignedBuffer<Float>(count: bytes / 4)
        let operands = try AlignedBuffer<Float>(count: 3 * 256 * 256)
        let squares = (0..<3).map { index in
            operands.vector.slice(index << 16..<(index + 1) << 16).matrix(rows: 256, columns: 256)
        }
        var reduction = try BucketedCollective(
            .allreduce, gradients.vector, bucketBytes: Self.bucketBytes, over: topology)
        var (within, behind): ([Double], [Double]) = ([], [])
        for _ in 0..<5 {
            Reductions.fill(gradients.vector, with: 1)
            try ranks.barrier()
            var calls = 0.0
            let start = ContinuousClock.now
            while (ContinuousClock.now - start) / .seconds(1) - calls < alone {
                calls += try seconds { try reduction.advance(from: 0) }
                for _ in 0..<4 { matmul.forward(squares[0], weight: squares[1], into: squares[2]) }
            }
            within.append(calls)
            try ranks.barrier()
            behind.append(try seconds { try reduction.finish() })
        }
        let cost = try mean(within.median, on: ranks) / alone
        let left = try mean(behind.median, on: ranks) / alone
        return .init(progress: max(0, min(1, 1 - left)), cost: cost)
    }
}
