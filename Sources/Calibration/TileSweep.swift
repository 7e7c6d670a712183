import Configs
import Cost
import Kernels
import MessagePassing
import Training

/// Times products of bf16 tiles as `ProductSweep` times those of fp32, every kind that is of use on this CPU.
struct TileSweep {
    let backend: any MatMulBackend
    let team: ThreadTeam
    let pool: OperandPool
    let meter: ReferenceMeter
    /// As of `ProductSweep`.
    let reference: ReferenceSpeed
    let most: Double

    /// Products of fewer shapes than in fp32: their kernel is the same for all.
    private static let samples = 34

    /// By `TileProductKind`. Collective.
    func measure(on ranks: borrowing Communicator) throws -> [String: TileProductTimes] {
        var times: [String: TileProductTimes] = [:]
        for precision in [PrecisionConfig.MatMulPrecision.high, .medium] {
            guard let mode = try ProductPrecision.tiles(of: precision, on: ranks) else { continue }
            let workspace = try AlignedBuffer<UInt8>(
                count: team.count * TileMatMul.largestWorkspaceByteCount(precision: mode.precision))
            let matmul = MatMul(
                backend: TileMatMul(
                    precision: mode.precision, instructions: mode.instructions, workspace: workspace.vector,
                    small: backend), team: team)
            let packing = try packing(matmul, mode.precision, on: ranks)
            let kinds: [TileProductKind] = precision == .high ? [.high] : [.medium, .mediumKept]
            for kind in kinds {
                let sweep = ProductSweep(
                    matmul: matmul, pool: pool, meter: meter, reference: reference, most: most,
                    tiles: mode.precision, takesKept: kind == .mediumKept)
                times[kind.rawValue] = TileProductTimes(
                    products: try sweep.measure(samples: Self.samples, on: ranks) { _ in },
                    headProducts: try sweep.measureHeads(on: ranks), packingSecondsPerElement: packing,
                    headPackingSecondsPerElement: try sweep.headPacking(on: ranks))
            }
        }
        return times
    }

    /// Seconds to pack an element of a weight that no cache holds.
    private func packing(
        _ matmul: MatMul, _ precision: TilePrecision, on ranks: borrowing Communicator
    ) throws -> Double {
        let (n, k) = (1536, 384)
        let bytes = PackedWeight.byteCount(n: n, k: k, precision: precision)
        let storage = try AlignedBuffer<UInt8>(count: bytes)
        let times = (0..<9).map { _ in
            let weight = Weight(
                pool.matrix(n, k),
                packed: PackedWeight(n: n, k: k, precision: precision, in: storage.vector))
            return seconds { matmul.pack(weight) }
        }
        return try mean(times.median, on: ranks) / Double(n * k)
    }
}
