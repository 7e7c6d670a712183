import Kernels
import Testing

@Suite struct TileSupportTests {
    @Test func `the best of the CPU, unless capped`() throws {
        for cpu in TileInstructions.allCases {
            #expect(try choose(cpu, cap: nil).instructions == cpu)
            #expect(try choose(cpu, cap: "").instructions == cpu)
            for cap in TileInstructions.allCases {
                let support = try choose(cpu, cap: cap.rawValue)
                #expect(support.instructions == min(cpu, cap))
                #expect(support.description.hasPrefix(support.instructions.rawValue + ": "))
                #expect(support.description.contains("LOCKSTEP_ISA") == (cap < cpu))
            }
        }
    }

    @Test func `a refusal falls back and says so`() throws {
        let support = try choose(.amx, cap: nil, status: 1)
        #expect(support.instructions == .avx512bf16)
        #expect(support.description.contains("refused the use of AMX (Operation not permitted)"))
    }

    @Test func `slow dot products are made only where they are asked for`() throws {
        func choose(_ cpu: TileInstructions, cap: String?, status: Int32 = 0) throws -> TileSupport {
            try TileSupport.choose(cpu: cpu, dotProductsAreSlow: true, cap: cap) { status }
        }
        for cap in [nil, "amx"] {
            let support = try choose(.avx512bf16, cap: cap)
            #expect(support.instructions == .avx512fma)
            #expect(support.description.contains("vdpbf16ps takes longer"))
        }
        #expect(try choose(.amx, cap: nil).instructions == .amx)
        #expect(try choose(.amx, cap: nil, status: 1).instructions == .avx512fma)
        #expect(try choose(.avx512bf16, cap: "avx512bf16").instructions == .avx512bf16)
        #expect(try choose(.avx512bf16, cap: "emulated").instructions == .emulated)
        #expect(try choose(.emulated, cap: "amx").instructions == .emulated)
    }

    @Test func `tile registers are asked for only when they will be used`() throws {
        for (cpu, cap) in [(TileInstructions.avx512bf16, "amx"), (.amx, "avx512bf16"), (.emulated, "amx")] {
            _ = try TileSupport.choose(cpu: cpu, cap: cap) {
                Issue.record("asked for tile registers on \(cpu) with cap \(cap)")
                return 0
            }
        }
    }

    @Test func `an unknown name lists the known ones`() {
        let error = #expect(throws: UnknownTileInstructions.self) {
            try TileSupport.here(environment: ["LOCKSTEP_ISA": "AMX"])
        }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains("LOCKSTEP_ISA is \"AMX\""))
        #expect(text.contains("emulated, avx512fma, avx512bf16 or amx"))
    }

    @Test func `here is what the CPU has`() throws {
        #expect(try TileSupport.here(environment: ["LOCKSTEP_ISA": "emulated"]).instructions == .emulated)
        let best = try TileSupport.here(environment: [:]).instructions
        #expect(try TileSupport.here(environment: ["LOCKSTEP_ISA": "amx"]).instructions == best)
    }

    private func choose(_ cpu: TileInstructions, cap: String?, status: Int32 = 0) throws -> TileSupport {
        try TileSupport.choose(cpu: cpu, cap: cap) { status }
    }
}
