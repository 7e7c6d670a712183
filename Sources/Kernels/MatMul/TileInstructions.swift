import CTiles
import Glibc

/// How tiles are multiplied; each way needs more of the CPU than the ones before it.
public enum TileInstructions: String, CaseIterable, Comparable, Sendable {
    /// Plain code that does what a tile instruction does, for tests; runs on every CPU, slowly.
    case emulated
    /// fp32 multiply-adds on 512-bit registers, of bf16 numbers that are widened in cache, and of fp32 numbers (Skylake and later).
    case avx512fma
    /// `vdpbf16ps` on 512-bit registers (Zen 4 and later, Cooper Lake).
    case avx512bf16
    /// `tdpbf16ps` on tile registers (Sapphire Rapids and later).
    case amx

    /// Names of all of them, for messages: "emulated, avx512fma, avx512bf16 or amx".
    static let names =
        allCases.dropLast().map(\.rawValue).joined(separator: ", ") + " or \(allCases.last!.rawValue)"

    /// As the C kernels call it.
    var code: Int32 { Int32(Self.allCases.firstIndex(of: self)!) }

    public static func < (a: TileInstructions, b: TileInstructions) -> Bool { a.code < b.code }
}

/// A value of `LOCKSTEP_ISA` that is none.
public struct UnknownTileInstructions: Error, CustomStringConvertible {
    let name: String
    public var description: String {
        "LOCKSTEP_ISA is \"\(name)\": expected \(TileInstructions.names); leave it out to use the best that the CPU has"
    }
}

/// Which tile instructions this process may use, and why.
public struct TileSupport: Sendable {
    public let instructions: TileInstructions
    /// For people: what is used, and what kept better ones from use.
    public let description: String

    /// The best that CPU and operating system offer, at most `LOCKSTEP_ISA` of `environment`. Throws for an unknown name.
    /// Where that is AMX, it has asked the system for the use of tile registers.
    public static func here(environment: [String: String]) throws(UnknownTileInstructions) -> TileSupport {
        try choose(
            cpu: ofCPU, dotProductsAreSlow: lockstep_bf16_dot_products_are_slow(),
            cap: environment["LOCKSTEP_ISA"], requestTileRegisters: { lockstep_request_tile_registers() })
    }

    /// The last of all that CPU and operating system offer, all before which they offer, too.
    public static var ofCPU: TileInstructions { TileInstructions.allCases[Int(lockstep_tiles_of_cpu())] }

    /// The same for any CPU. `requestTileRegisters` returns 0 or an errno, and is asked only where the answer matters.
    ///
    /// - Parameter dotProductsAreSlow: whether `avx512fma` is faster than `avx512bf16`, which is then used only if `cap` names it.
    public static func choose(
        cpu: TileInstructions, dotProductsAreSlow: Bool = false, cap name: String?,
        requestTileRegisters: () -> Int32
    ) throws(UnknownTileInstructions) -> TileSupport {
        var best = cpu
        var reason = "the best of this CPU and system"
        var cap: TileInstructions?
        if let name, !name.isEmpty {
            cap = TileInstructions(rawValue: name)
            guard let cap else { throw UnknownTileInstructions(name: name) }
            if cap < cpu {
                best = cap
                reason = "LOCKSTEP_ISA keeps \(cpu.rawValue) from use"
            }
        }
        if best == .amx {
            let status = requestTileRegisters()
            if status != 0 {
                best = .avx512bf16
                reason =
                    "the system refused the use of AMX (\(String(cString: strerror(status)))); Linux 5.16 and later "
                    + "allow it"
            }
        }
        if best == .avx512bf16 && dotProductsAreSlow && cap != best {
            best = .avx512fma
            reason += "; vdpbf16ps takes longer on it"
        }
        return TileSupport(instructions: best, description: "\(best.rawValue): \(reason)")
    }
}
