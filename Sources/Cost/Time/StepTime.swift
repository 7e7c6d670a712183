import Configs
import Foundation

/// Seconds of a part of a step, by what limits it: the core's arithmetic, its pipelines, the memory behind its caches, or the caches of other cores.
///
/// They drift apart on a shared machine, so that they are kept apart until the end.
public struct WorkSeconds: Codable, Sendable, Equatable {
    /// Of the multiply-adds of linear maps' matrix products.
    public var products = 0.0
    /// Of those within heads.
    public var headProducts = 0.0
    /// Of row kernels, as if a cache held their tensors, and of what products take beside multiply-adds: calls, packing, loads.
    public var kernels = 0.0
    /// What row kernels take longer since it does not.
    public var memory = 0.0
    /// For what the caches of other threads' cores hold.
    public var handovers = 0.0

    public var total: Double { products + headProducts + kernels + memory + handovers }

    public init(
        products: Double = 0, headProducts: Double = 0, kernels: Double = 0, memory: Double = 0,
        handovers: Double = 0
    ) {
        self.products = products
        self.headProducts = headProducts
        self.kernels = kernels
        self.memory = memory
        self.handovers = handovers
    }

    static func + (a: WorkSeconds, b: WorkSeconds) -> WorkSeconds {
        WorkSeconds(
            products: a.products + b.products, headProducts: a.headProducts + b.headProducts,
            kernels: a.kernels + b.kernels, memory: a.memory + b.memory,
            handovers: a.handovers + b.handovers)
    }

    static func * (factor: Double, seconds: WorkSeconds) -> WorkSeconds {
        WorkSeconds(
            products: factor * seconds.products, headProducts: factor * seconds.headProducts,
            kernels: factor * seconds.kernels, memory: factor * seconds.memory,
            handovers: factor * seconds.handovers)
    }

    enum CodingKeys: String, CodingKey {
        case products, kernels, memory, handovers
        case headProducts = "head_products"
    }
}

/// How much of an operand comes from memory rather than a cache, from the bytes that pass between two uses of it.
struct Coldness {
    /// Beyond these many bytes no cache helps: the most that calibration copies.
    static let memoryDistance = 128 << 20
    /// Bytes, and the seconds of a byte among so many, from a core's own cache to main memory.
    private let levels: [(bytes: Double, secondsPerByte: Double)]

    /// - Parameter bandwidth: as calibrated, by ascending size; the first within a core's own cache.
    init(_ bandwidth: [Profile.Bandwidth]) {
        levels = bandwidth.map { (Double($0.bytes), 1 / $0.bytesPerSecond) }
    }

    /// 0 where bytes come as fast as from the core's own cache, 1 where they come as slowly as from memory; between
    /// measured sizes by the logarithm of the size.
    func callAsFunction(distance bytes: Double) -> Double {
        guard let fastest = levels.first, let slowest = levels.last, bytes > fastest.bytes,
            slowest.secondsPerByte > fastest.secondsPerByte
        else { return 0 }
        guard let upper = levels.firstIndex(where: { $0.bytes >= bytes }) else { return 1 }
        let (a, b) = (levels[upper - 1], levels[upper])
        let share = log(bytes / a.bytes) / log(b.bytes / a.bytes)
        let seconds = a.secondsPerByte + share * (b.secondsPerByte - a.secondsPerByte)
        let coldness = (seconds - fastest.secondsPerByte) / (slowest.secondsPerByte - fastest.secondsPerByte)
        return max(0, min(1, coldness))
    }
}

extension Profile.Layout {
    /// Whether the times of products of its precision have been measured.
    func knows(_ workload: Workload) -> Bool {
        workload.tileKind.map { tiles[$0.rawValue] != nil } ?? true
    }

    /// Seconds of `work` on one rank.
    ///
    /// - Parameters:
    ///   - workload: that it is part of, and that the layout `knows`.
    ///   - footprint: bytes that a whole pass touches, which lie between two uses of a weight.
    func seconds(_ work: Work, of workload: Workload, footprint: Double) -> WorkSeconds {
        let ofTiles = workload.tileKind.flatMap { tiles[$0.rawValue] }
        let coldness = Coldness(bandwidth)
        let far = coldness(distance: footprint)
        // Each takes heads of its own; the slowest counts.
        let heads = Double(workload.heads)
        let busyThreads = heads / (heads / Double(threads)).rounded(.up)
        var sum = WorkSeconds()
        for item in work.products {
            let product = item.product
            let count = Double(item.count)
            let times = workload.precision.isInTiles(product) ? ofTiles : nil
            if item.place == .head {
                let models = times?.headProducts ?? headProducts
                if let model = models[product.role.rawValue] {
                    let part = product.largestPart(among: 1)
                    let seconds = count / busyThreads * model.seconds(part)
                    let share = model.multiplyAddShare(part)
                    sum.headProducts += share * seconds
                    sum.kernels += (1 - share) * seconds
                }
                continue
            }
            // A is what the kernel before has just written or read; B and C were last used a pass ago.
            let near = coldness(distance: 4 * Double(product.m) * Double(product.k))
            let operands = SIMD3(near, far, far)
            let part = product.largestPart(among: threads)
            if let model = (times?.products ?? products)[product.role.rawValue] {
                let seconds = model.seconds(part, coldness: operands)
                let handover = model.handoverSeconds(part, of: seconds)
                let share = model.cold.multiplyAddShare(part)
                sum.products += count * share * (seconds - handover)
                sum.kernels += count * (1 - share) * (seconds - handover)
                sum.handovers += count * handover
            }
        }
        sum.memory += Double(work.packedElements) * (ofTiles?.packingSecondsPerElement ?? 0)
        sum.headProducts +=
            Double(work.packedHeadElements) / busyThreads * (ofTiles?.headPackingSecondsPerElement ?? 0)
        // As far as it is memory's: a fill only writes, a sum of squares only reads.
        for (elements, kernel) in [
            (work.keptElements, RowKernel.fill), (work.fetchedElements, .sumOfSquares),
        ] where elements > 0 {
            let moved = kernels[kernel.rawValue]?
                .seconds(rows: 1, columns: Int(elements), coldness: far, isShared: false)
            sum.memory += moved?.memory ?? 0
        }
        for item in work.rows {
            let bytes = 4 * Double(item.rows) * Double(item.columns)
            let cold: Double =
                switch item.place {
                case .head: 0
                case .activations: (far + coldness(distance: bytes)) / 2
                case .parameters: far
                }
            let model = kernels[item.kernel.rawValue]
            // Dropout was measured as all threads share it, what belongs to heads on one of them.
            let isShared = threads > 1 && (item.place != .head || item.kernel == .dropout)
            let members = isShared ? 1 : busyThreads
            if let model {
                sum =
                    sum
                    + Double(item.count) / members
                    * model.seconds(
                        rows: item.rows, columns: item.columns, coldness: cold, isShared: isShared)
            }
        }
        sum.handovers += handovers(work, of: workload, coldness, far: far)
        return sum
    }
}
