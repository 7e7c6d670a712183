import Foundation

/// How fast a machine is over how fast it was when it was calibrated: 1 is no change. Where ranks took turns on cores then,
/// all are 1.
public struct ReferenceDrift: Sendable, Equatable {
    public let products: Double
    public let kernels: Double
    public let copies: Double
    /// 1, too, where one of both is not known.
    public let exchanges: Double

    /// - Parameters:
    ///   - speed: of now.
    ///   - calibrated: of then. Both are positive.
    public init(of speed: ReferenceSpeed, from calibrated: ReferenceSpeed) {
        guard !calibrated.isOfTurns else {
            (products, kernels, copies, exchanges) = (1, 1, 1, 1)
            return
        }
        products = speed.flopsPerSecond / calibrated.flopsPerSecond
        kernels = speed.kernelElementsPerSecond / calibrated.kernelElementsPerSecond
        copies = speed.copyBytesPerSecond / calibrated.copyBytesPerSecond
        exchanges =
            speed.exchangeBytesPerSecond.flatMap { now in
                calibrated.exchangeBytesPerSecond.map { now / $0 }
            } ?? 1
    }

    /// Of `work`, at the speed of now.
    public func seconds(_ work: WorkSeconds) -> Double {
        (work.products + work.headProducts) / products + work.kernels / kernels + work.memory / copies
    }

    /// The same of reductions of `bytes` among ranks of a host: a mean (geometric, so that it does not matter which of two
    /// speeds is the calibrated one) of what caches exchange, what memory copies, the more the larger they are, and what the
    /// cores compute.
    ///
    /// Where two cores of Zen 5 share a last-level cache one moment and do not the next, the reference exchange then takes 2.2
    /// times as long and a copy 0.65 times. Reductions of training of 2 to 3 MiB took 1.3 to 1.5 times as long, of 41 and 54
    /// MiB 1.16 and 1.21, and of 162 MiB 1.13 times.
    public func reductions(bytes: Int) -> Double {
        let held = 4.0 * 1024 * 1024
        let byExchange = 0.45
        let byCopy = 0.45 * max(0, 1 - held / Double(max(1, bytes)))
        return pow(exchanges, byExchange) * pow(copies, byCopy) * pow(products, 1 - byExchange - byCopy)
    }
}
