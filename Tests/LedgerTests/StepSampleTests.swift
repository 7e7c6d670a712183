import Cost
import Ledger
import Testing

@Suite struct StepSampleTests {
    /// Every field has a value that no other has.
    static let distinct: StepSample = {
        var sample = StepSample(step: 28, rank: 2)
        sample.loss = 0.1 + 0.2
        sample.tokens = 4
        sample.learningRate = 5e-300
        sample.gradientNorm = 6.5
        sample.seconds = .init(
            data: 7e-9, forward: 8.25, backward: 9.5, reduceOverlapped: 9.625, wait: 9.75,
            reduceExposed: 10.5,
            optimizer: 11.5, total: 12.123456789)
        sample.matmulFLOPs = (1 << 53) - 1
        sample.bytes.record(.init(resident: 14, peak: 15, anonymous: 16, file: 17, shared: 18))
        sample.bytes.parameters = 19
        sample.bytes.gradients = 20
        sample.bytes.optimizer = 21
        sample.bytes.activations = 22
        sample.bytes.workspace = 23
        sample.bytes.communication = 24
        sample.bytes.data = 25
        sample.sentBytes = 27
        sample.isSkipped = true
        sample.speed = .init(
            flopsPerSecond: 29, kernelElementsPerSecond: 30, copyBytesPerSecond: 31,
            exchange: .init(cached: 32, gradients: 33, shards: 34), handoverBytesPerSecond: 35)
        return sample
    }()

    @Test func aRowHoldsEveryField() {
        var row = [Double](repeating: .nan, count: StepSample.width)
        row.withUnsafeMutableBufferPointer { Self.distinct.pack(into: $0) }
        #expect(Set(row).count == StepSample.width)
        #expect(row.withUnsafeBufferPointer { StepSample(unpacking: $0) } == Self.distinct)
    }

    @Test func aRowKeepsWhatIsNoNumber() {
        let sample = StepSample(step: 3, rank: 0)
        var row = [Double](repeating: 0, count: StepSample.width)
        row.withUnsafeMutableBufferPointer { sample.pack(into: $0) }
        #expect(row.withUnsafeBufferPointer { StepSample(unpacking: $0).loss.isNaN })
    }

    @Test func arenasAreSummed() {
        #expect(Self.distinct.bytes.arenas == 19 + 20 + 21 + 22 + 23 + 24 + 25)
    }
}
