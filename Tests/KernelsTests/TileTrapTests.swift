import CTiles
import Kernels
import TestSupport
import Testing
import TileTrap

#if arch(x86_64)
    /// The AMX kernels as they were compiled, on any x86 CPU: where it has no tiles, the signal of an illegal instruction does
    /// what each of them should.
    @Suite(.serialized) struct TileTrapTests {
        private static let amx = Int32(LOCKSTEP_TILES_AMX)

        /// Whether instructions are trapped: otherwise the CPU runs them itself.
        private static let isTrapped: Bool = {
            if Int(lockstep_tiles_of_cpu()) == LOCKSTEP_TILES_AMX, lockstep_request_tile_registers() == 0 {
                return false
            }
            #expect(tile_trap_install() == 0)
            return true
        }()

        private typealias Sum = (UnsafeRawPointer, UnsafeMutableRawPointer) -> Void

        /// - Parameter layout: bytes from a row of A to the next, and from a step to the next.
        private static func sums(
            _ a: [UInt8], _ b: [UInt8], steps: Int, layout: (stride: Int, step: Int), _ sum: Sum
        ) -> [UInt32] {
            let count = Int(LOCKSTEP_PANEL_EXTENT * LOCKSTEP_PANEL_EXTENT)
            let raw = UnsafeMutableRawPointer.allocate(byteCount: 4 * count, alignment: 64)
            defer { raw.deallocate() }
            let words = raw.initializeMemory(as: UInt32.self, repeating: 0xDEAD_BEEF, count: count)
            a.withUnsafeBytes { a in
                b.withUnsafeBytes { b in
                    var block = lockstep_tile_block()
                    (block.a, block.b, block.steps) = (a.baseAddress, b.baseAddress, steps)
                    (block.a_stride, block.a_step) = layout
                    sum(&block, raw)
                }
            }
            return (0..<count).map { words[$0] }
        }

        /// bf16 of every kind: ordinary, subnormal, negative, and zero.
        private static func panel(steps: Int, tiles: Int, seed: UInt64) -> [UInt8] {
            var random = SplitMix64(seed: seed)
            return (0..<steps * tiles * 512).flatMap { _ -> [UInt8] in
                let scale = [Float(1), 1, 1, 1, 0, 0x1p-130, 1e4, 1e-4].randomElement(using: &random)!
                let bits = (Float.random(in: -1...1, using: &random) * scale).bitPattern >> 16
                return [UInt8(bits & 0xFF), UInt8(bits >> 8)]
            }
        }

        @Test(arguments: [0, 1, 2, 7])
        func `compiled tile instructions give what the emulation gives`(steps: Int) {
            let isTrapped = Self.isTrapped
            let before = tile_trap_products()
            lockstep_tiles_begin(Self.amx)
            let (a, b) = (
                Self.panel(steps: steps, tiles: 2, seed: 1), Self.panel(steps: steps, tiles: 2, seed: 2)
            )
            // In tiles, and as rows of a matrix.
            for layout in [(64, 2048), (64 * max(1, steps), 64)] {
                #expect(
                    Self.sums(a, b, steps: steps, layout: layout, amx_sum)
                        == Self.sums(a, b, steps: steps, layout: layout, emulated_sum))
            }
            let (aSplit, bSplit) = (
                Self.panel(steps: steps, tiles: 4, seed: 3), Self.panel(steps: steps, tiles: 4, seed: 4)
            )
            #expect(
                Self.sums(aSplit, bSplit, steps: steps, layout: (64, 4096), amx_sum_split)
                    == Self.sums(aSplit, bSplit, steps: steps, layout: (64, 4096), emulated_sum_split))
            lockstep_tiles_end(Self.amx)
            // Four tiles of C a step, in two layouts, and in three products where operands are split.
            if isTrapped { #expect(tile_trap_products() - before == (8 + 12) * steps) }
        }

        /// Blocks at all edges of C, in fp32 and rounded to bf16.
        @Test(.enabled(if: tileInstructions.contains(.avx512bf16)))
        func `sums of tile registers are stored as those of the emulation`() {
            _ = Self.isTrapped
            let (a, b) = (
                Self.panel(steps: 2, tiles: 2, seed: 1), Self.panel(steps: 2, tiles: 2, seed: 2)
            )
            let bias = (0..<32).map { Float($0) - 7.3 }
            for (rows, columns) in [(32, 32), (5, 20), (31, 9)] {
                for accumulates in [false, true] {
                    func stored(_ instructions: Int32, isRounded: Bool) -> [UInt32] {
                        var c = (0..<32 * 40).map { Float($0) * 0.37 }
                        c.withUnsafeMutableBytes { c in
                            a.withUnsafeBytes { a in
                                b.withUnsafeBytes { b in
                                    bias.withUnsafeBufferPointer { bias in
                                        var block = lockstep_tile_block()
                                        (block.a, block.b, block.steps) = (a.baseAddress, b.baseAddress, 2)
                                        (block.a_stride, block.a_step, block.stride) = (64, 2048, 40)
                                        (block.rows, block.columns) = (Int32(rows), Int32(columns))
                                        (block.alpha, block.bias) = (1, bias.baseAddress)
                                        if isRounded {
                                            block.rounded = c.baseAddress?.assumingMemoryBound(
                                                to: UInt16.self)
                                        } else {
                                            block.c = c.baseAddress?.assumingMemoryBound(to: Float.self)
                                            block.accumulate = accumulates
                                        }
                                        lockstep_tile_multiply(instructions, false, &block)
                                    }
                                }
                            }
                        }
                        return c.map(\.bitPattern)
                    }
                    lockstep_tiles_begin(Self.amx)
                    let ofRegisters = [false, true].map { stored(Self.amx, isRounded: $0) }
                    lockstep_tiles_end(Self.amx)
                    let emulated = Int32(LOCKSTEP_TILES_EMULATED)
                    #expect(ofRegisters == [false, true].map { stored(emulated, isRounded: $0) })
                }
            }
        }

        /// What `lockstep_ceiling_amx` is said to do.
        @Test func `the ceiling counts its products`() {
            let isTrapped = Self.isTrapped
            let before = tile_trap_products()
            lockstep_tiles_begin(Self.amx)
            lockstep_ceiling_amx(5)
            lockstep_tiles_end(Self.amx)
            let flopsOfProduct = 2 * 16 * 16 * 32
            if isTrapped { #expect((tile_trap_products() - before) * flopsOfProduct == 5 * 65_536) }
        }
    }
#endif
