import Kernels
import MessagePassing

/// The few numbers of a step that are summed over all ranks in one piece: loss, number of target tokens, the gradients of
/// the remainder, which is in no bucket, and the squared norm of sharded gradients.
struct StepTotals: ~Copyable {
    private let remainder: Vector
    private let isSharded: Bool
    /// Whether the sums over ranks are one binary tree at every number of ranks.
    private let isTree: Bool
    /// Loss, tokens, the remainder; with a sharded optimizer the squared norm behind them.
    private let sums: AlignedBuffer<Double>
    /// A partner's sums.
    private let received: AlignedBuffer<Double>

    var bytes: Int { sums.bytes + received.bytes }

    init(remainder: Vector, isSharded: Bool, isTree: Bool, ranks: Int) throws {
        self.remainder = remainder
        self.isSharded = isSharded
        self.isTree = isTree
        let sums = try AlignedBuffer<Double>(count: 2 + remainder.count + (isSharded ? 1 : 0))
        let received = try AlignedBuffer<Double>(count: isTree && ranks > 1 ? sums.count : 0)
        self.sums = sums
        self.received = received
    }

    /// Sums the remainder's gradients in place. Mean loss and number of tokens over all ranks. Collective.
    func reduce(
        _ sum: CrossEntropy.Sum, on ranks: borrowing Communicator
    ) throws -> (loss: Double, tokens: Int) {
        sums.base[0] = sum.loss
        sums.base[1] = Double(sum.tokens)
        for index in 0..<remainder.count { sums.base[2 + index] = Double(remainder.base[index]) }
        if isTree {
            try sumInTree(on: ranks)
        } else {
            try allreduce(0..<2 + remainder.count, on: ranks)
        }
        for index in 0..<remainder.count { remainder.base[index] = Float(sums.base[2 + index]) }
        let tokens = max(1, sums.base[1])
        return (sums.base[0] / tokens, Int(tokens))
    }

    /// Sum of `squares` over all ranks. Collective; for a sharded optimizer.
    func reduce(squares: Double, on ranks: borrowing Communicator) throws -> Double {
        precondition(isSharded, "an optimizer that is not sharded has no squares to sum")
        let last = sums.count - 1
        sums.base[last] = squares
        try allreduce(last..<last + 1, on: ranks)
        return sums.base[last]
    }

    /// As `TreeReduction` does, but whole: partners exchange all they have. Gradients are added in single precision, as
    /// those are that lie in buckets when the number of ranks is another.
    private func sumInTree(on ranks: borrowing Communicator) throws {
        var distance = 1
        while distance < ranks.size {
            try ranks.exchange(sums.vector, for: received.vector, with: ranks.rank ^ distance)
            for index in 0..<2 { sums.base[index] += received.base[index] }
            for index in 2..<sums.count {
                sums.base[index] = Double(Float(sums.base[index]) + Float(received.base[index]))
            }
            distance *= 2
        }
    }

    private func allreduce(_ range: Range<Int>, on ranks: borrowing Communicator) throws {
        guard ranks.size > 1 else { return }
        try ranks.allreduce(
            inPlace: UnsafeMutableBufferPointer(start: sums.base + range.lowerBound, count: range.count), .sum
        )
    }
}
