/// How fast a machine is over how fast it was when it was calibrated: 1 is no change.
public struct ReferenceDrift: Sendable, Equatable {
    public let products: Double
    public let kernels: Double
    public let copies: Double

    /// - Parameters:
    ///   - speed: of now.
    ///   - calibrated: of then. Both are positive.
    public init(of speed: ReferenceSpeed, from calibrated: ReferenceSpeed) {
        products = speed.flopsPerSecond / calibrated.flopsPerSecond
        kernels = speed.kernelElementsPerSecond / calibrated.kernelElementsPerSecond
        copies = speed.copyBytesPerSecond / calibrated.copyBytesPerSecond
    }

    /// Of `work`, at the speed of now.
    public func seconds(_ work: WorkSeconds) -> Double {
        (work.products + work.headProducts) / products + work.kernels / kernels + work.memory / copies
    }
}
