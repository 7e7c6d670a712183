import Configs
import Foundation

/// Seconds of a part of a step, by what limits it: products by the arithmetic units, the rest by memory.
///
/// The two drift apart on a shared machine, so that they are kept apart until the end.
public struct WorkSeconds: Codable, Sendable, Equatable {
    public var products = 0.0
    public var memory = 0.0

    public var total: Double { products + memory }

    public init(products: Double = 0, memory: Double = 0) {
        self.products = products
        self.memory = memory
    }

    static func + (a: WorkSeconds, b: WorkSeconds) -> WorkSeconds {
        WorkSeconds(products: a.products + b.products, memory: a.memory + b.memory)
    }

    static func * (factor: Double, seconds: WorkSeconds) -> WorkSeconds {
        WorkSeconds(products: factor * seconds.products, memory: factor * seconds.memory)
    }
}

/// How much of an operand comes from memory rather than a cache, from the bytes that pass between two uses of it.
struct Coldness {
    /// Of a core's own cache.
    let privateCache: Double
    /// Beyond this distance calibration found no cache that helps.
    static let memoryDistance = Double(64 << 20)

    /// 0 within the core's own cache, 1 from 64 MiB on, and in between by the logarithm of the distance.
    func callAsFunction(distance bytes: Double) -> Double {
        guard bytes > privateCache else { return 0 }
        return min(1, log(bytes / privateCache) / log(Self.memoryDistance / privateCache))
    }
}

extension Profile.Layout {
    /// Seconds of `work` on one rank.
    ///
    /// - Parameters:
    ///   - footprint: bytes that a whole pass touches, which lie between two uses of a weight.
    ///   - coldness: of this machine's caches.
    func seconds(_ work: Work, footprint: Double, coldness: Coldness) -> WorkSeconds {
        let far = coldness(distance: footprint)
        var sum = WorkSeconds()
        for item in work.products {
            let product = item.product
            let count = Double(item.count)
            if item.place == .head {
                sum.products += count * (headProducts[product.role.rawValue]?.seconds(product) ?? 0)
                continue
            }
            // A is what the kernel before has just written or read; B and C were last used a pass ago.
            let near = coldness(distance: 4 * Double(product.m) * Double(product.k))
            let operands = SIMD3(near, far, far)
            sum.products +=
                count * (products[product.role.rawValue]?.seconds(product, coldness: operands) ?? 0)
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
            sum.memory +=
                Double(item.count)
                * (model?.seconds(rows: item.rows, columns: item.columns, coldness: cold) ?? 0)
        }
        return sum
    }
}
