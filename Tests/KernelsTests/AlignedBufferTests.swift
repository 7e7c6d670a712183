import Kernels
import Testing

@Suite struct AlignedBufferTests {
    /// Around a page and a huge page, where what is kept of the reserved addresses begins and ends.
    @Test(arguments: [0, 1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, (6 << 20) + 4097])
    func isZeroAndWritableToItsEnds(count: Int) throws {
        let buffer = try AlignedBuffer<UInt8>(count: count)
        #expect(buffer.bytes == count)
        #expect(Int(bitPattern: buffer.base) % (count >= 2 << 20 ? 2 << 20 : 4096) == 0)
        #expect((0..<count).allSatisfy { buffer.base[$0] == 0 })
        for index in [0, count - 1] where count > 0 {
            buffer.base[index] = 7
            #expect(buffer.base[index] == 7)
        }
    }

    @Test(arguments: [Int.max, Int.max - 4094, Int.max / 2 + 1, 1 << 60])
    func whatNoSystemHasIsRefused(count: Int) {
        #expect(throws: AllocationError.self) { _ = try AlignedBuffer<UInt8>(count: count) }
        #expect(throws: AllocationError.self) { _ = try AlignedBuffer<Float>(count: count) }
    }
}
