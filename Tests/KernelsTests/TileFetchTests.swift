import CTiles
import Testing

/// What products ask memory for meanwhile.
@Suite struct TileFetchTests {
    /// `steps` steps of a block of 32 rows, which go on with `fetch`.
    private func multiply(_ fetch: inout lockstep_fetch, steps: Int) {
        let (a, b) = (
            [UInt16](repeating: 0, count: 1024 * steps), [UInt16](repeating: 0, count: 1024 * steps)
        )
        var c = [Float](repeating: 0, count: 1024)
        c.withUnsafeMutableBufferPointer { c in
            a.withUnsafeBytes { a in
                b.withUnsafeBytes { b in
                    withUnsafeMutablePointer(to: &fetch) { fetch in
                        var block = lockstep_tile_block()
                        (block.a, block.b, block.steps) = (a.baseAddress, b.baseAddress, steps)
                        (block.a_stride, block.a_step) = (64, 2048)
                        (block.c, block.stride, block.rows, block.columns) = (c.baseAddress, 32, 32, 32)
                        block.fetch = fetch
                        lockstep_tile_multiply(Int32(LOCKSTEP_TILES_EMULATED), false, &block)
                    }
                }
            }
        }
    }

    @Test func `goes through the rows of the one and then of the other, block for block`() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 64)
        defer { memory.deallocate() }
        let base = memory.assumingMemoryBound(to: CChar.self)
        // Three rows of two lines, 256 bytes apart, and two of one line, 128 apart.
        var fetch = lockstep_fetch(
            first: .init(line: base, lines_left: 2, row_lines: 2, gap: 128, rows_left: 3),
            second: .init(line: base + 1024, lines_left: 1, row_lines: 1, gap: 64, rows_left: 2),
            lines_a_step: 1, steps_before: 4)
        multiply(&fetch, steps: 1)
        #expect(fetch.first.line == UnsafePointer(base) && fetch.steps_before == 0)
        multiply(&fetch, steps: 1)
        #expect(fetch.first.line == UnsafePointer(base + 512))
        #expect((fetch.first.rows_left, fetch.first.lines_left) == (1, 2))
        // The last two of the first, then both of the second.
        multiply(&fetch, steps: 1)
        #expect(fetch.first.rows_left == 0 && fetch.second.rows_left == 0)
        multiply(&fetch, steps: 2)
        #expect(fetch.first.rows_left == 0)
    }
}
