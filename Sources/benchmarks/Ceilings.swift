import CTiles
import Kernels

/// What one core reaches from registers, in 1e9 flops a second; nil where the CPU has no such instructions.
struct Ceilings: Encodable {
    let fp32: Double?
    let avx512bf16: Double?
    let amx: Double?

    /// The best of a few short runs each.
    static func measure(_ instructions: TileInstructions) -> Ceilings {
        Ceilings(
            fp32: fp32(isaLevel: lockstep_cpu_isa_level()),
            avx512bf16: TileSupport.ofCPU >= .avx512bf16
                ? best(flops: avx512bf16Flops, lockstep_ceiling_avx512bf16) : nil,
            amx: instructions >= .amx ? best(flops: amxFlops, amxCeiling) : nil)
    }

    var text: String {
        let figures = [("fp32 FMA", fp32), ("vdpbf16ps", avx512bf16), ("tdpbf16ps", amx)]
        return "From registers, GFLOP/s: "
            + figures.map { "\($0) \($1.map { "\(Int($0.rounded()))" } ?? "-")" }.joined(separator: ", ")
    }

    private static func fp32(isaLevel: Int32) -> Double? {
        guard let (flops, run) = fp32Kernel(isaLevel: isaLevel) else { return nil }
        return best(flops: flops, run)
    }

    /// At this moment, in flops a second.
    static func fp32Now() -> Double? {
        fp32Kernel(isaLevel: lockstep_cpu_isa_level()).map { now(flops: $0.flops, $0.run) }
    }

    /// The same of `instructions`; nil for those that are emulated.
    static func tilesNow(_ instructions: TileInstructions) -> Double? {
        switch instructions {
        case .emulated: nil
        case .avx512fma: fp32Now()
        case .avx512bf16: now(flops: avx512bf16Flops, lockstep_ceiling_avx512bf16)
        case .amx: now(flops: amxFlops, amxCeiling)
        }
    }

    /// Of one repetition.
    private static let avx512bf16Flops = 1024
    private static let amxFlops = 65_536

    private static func fp32Kernel(isaLevel: Int32) -> (flops: Int, run: (Int) -> Void)? {
        switch isaLevel {
        case 4...: (512, lockstep_ceiling_fp32_avx512)
        case 3: (192, lockstep_ceiling_fp32_avx2)
        default: nil
        }
    }

    private static func amxCeiling(_ repetitions: Int) {
        let amx = Int32(LOCKSTEP_TILES_AMX)
        lockstep_tiles_begin(amx)
        lockstep_ceiling_amx(repetitions)
        lockstep_tiles_end(amx)
    }

    private static func best(flops: Int, _ run: (Int) -> Void) -> Double {
        let rates = (0..<7).map { _ in rate(flops: flops, repetitions: 8_000_000_000 / flops, run) }
        return 1e-9 * rates.max()!
    }

    private static func now(flops: Int, _ run: (Int) -> Void) -> Double {
        rate(flops: flops, repetitions: 1_000_000_000 / flops, run)
    }

    private static func rate(flops: Int, repetitions: Int, _ run: (Int) -> Void) -> Double {
        let start = ContinuousClock.now
        run(repetitions)
        return Double(repetitions * flops) / ((ContinuousClock.now - start) / .seconds(1))
    }
}
