/// How fast a machine is over how fast it was when it was calibrated: 1 is no change.
public struct ReferenceDrift: Sendable, Equatable {
    public let products: Double
    public let copies: Double
    /// nil where one of the two was not measured.
    public let exchanges: Double?
    /// Seconds that the reduction of a byte takes longer; nil where one of the two exchanges was not measured.
    public let reductionSecondsPerByte: Double?

    /// - Parameters:
    ///   - speed: of now.
    ///   - calibrated: of then. Both are positive.
    public init(of speed: ReferenceSpeed, from calibrated: ReferenceSpeed) {
        products = speed.flopsPerSecond / calibrated.flopsPerSecond
        copies = speed.copyBytesPerSecond / calibrated.copyBytesPerSecond
        exchanges = speed.exchangeBytesPerSecond.flatMap { now in
            calibrated.exchangeBytesPerSecond.map { now / $0 }
        }
        reductionSecondsPerByte = speed.exchangeBytesPerSecond.flatMap { now in
            calibrated.exchangeBytesPerSecond.map { Self.reductionSecondsPerByte(at: now, from: $0) }
        }
    }

    /// Seconds that the reduction of a byte takes longer at one rate of the reference exchange than at another. Where a system
    /// moved cores apart, so that they no longer shared a cache, each byte of the exchange took 0.04 to 0.06 ns longer, and
    /// of gradients in training, part of which come from memory, about half of that (reductions of 0.4 to 21 ms, Zen 5).
    public static func reductionSecondsPerByte(at rate: Double, from other: Double) -> Double {
        0.5 * (1 / rate - 1 / other)
    }

    /// Of `work`, at the speed of now.
    func seconds(_ work: WorkSeconds) -> Double { work.products / products + work.memory / copies }
}
