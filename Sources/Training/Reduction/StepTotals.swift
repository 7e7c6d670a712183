import Kernels
import MessagePassing

/// The few numbers of a step that are summed over all ranks in one piece: loss, number of target tokens, the gradients of
/// the remainder, which is in no bucket, and the squared norm of sharded gradients.
struct StepTotals: ~Copyable {
    private let remainder: Vector
    private let isSharded: Bool
    /// Loss, tokens, the remainder; with a sharded optimizer the squared norm behind them.
    private let sums: AlignedBuffer<Double>

    var bytes: Int { sums.bytes }

    init(remainder: Vector, isSharded: Bool) throws {
        self.remainder = remainder
        self.isSharded = isSharded
        sums = try AlignedBuffer(count: 2 + remainder.count + (isSharded ? 1 : 0))
    }

    /// Sums the remainder's gradients in place. Mean loss and number of tokens over all ranks. Collective.
    func reduce(
        _ sum: CrossEntropy.Sum, on ranks: borrowing Communicator
    ) throws -> (loss: Double, tokens: Int) {
        sums.base[0] = sum.loss
        sums.base[1] = Double(sum.tokens)
        for index in 0..<remainder.count { sums.base[2 + index] = Double(remainder.base[index]) }
        try allreduce(0..<2 + remainder.count, on: ranks)
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

    private func allreduce(_ range: Range<Int>, on ranks: borrowing Communicator) throws {
        guard ranks.size > 1 else { return }
        try ranks.allreduce(
            inPlace: UnsafeMutableBufferPointer(start: sums.base + range.lowerBound, count: range.count), .sum
        )
    }
}
