import Foundation

/// How fast a machine is over how fast it was when it was calibrated: 1 is no change. Where ranks took turns on cores then,
/// all are 1.
public struct ReferenceDrift: Sendable, Equatable {
    public let products: Double
    public let kernels: Double
    public let copies: Double
    /// Of exchanges, of what caches hold and of what comes from memory in both ways; 1, too, where one of both speeds is not
    /// known.
    public let cachedExchanges: Double
    public let gradientExchanges: Double
    public let shardExchanges: Double
    /// Of what threads hand over to each other; 1 where they do not, or where it is not known.
    public let handovers: Double

    /// - Parameters:
    ///   - speed: of now.
    ///   - calibrated: of then. Both are positive.
    public init(of speed: ReferenceSpeed, from calibrated: ReferenceSpeed) {
        guard !calibrated.isOfTurns else {
            (products, kernels, copies) = (1, 1, 1)
            (cachedExchanges, gradientExchanges, shardExchanges, handovers) = (1, 1, 1, 1)
            return
        }
        products = speed.flopsPerSecond / calibrated.flopsPerSecond
        kernels = speed.kernelElementsPerSecond / calibrated.kernelElementsPerSecond
        copies = speed.copyBytesPerSecond / calibrated.copyBytesPerSecond
        if let now = speed.handoverBytesPerSecond, let then = calibrated.handoverBytesPerSecond {
            handovers = now / then
        } else {
            handovers = 1
        }
        if let now = speed.exchange, let then = calibrated.exchange {
            cachedExchanges = now.cached / then.cached
            gradientExchanges = now.gradients / then.gradients
            shardExchanges = now.shards / then.shards
        } else {
            (cachedExchanges, gradientExchanges, shardExchanges) = (1, 1, 1)
        }
    }

    /// Of `work`, at the speed of now.
    public func seconds(_ work: WorkSeconds) -> Double {
        (work.products + work.headProducts) / products + work.kernels / kernels + work.memory / copies
            + work.handovers / handovers
    }

    /// How fast ranks of a host exchange what comes from caches by a part of `ofCaches`, and else from memory: a geometric mean,
    /// so that it does not matter which of two speeds is the calibrated one. Sums of a step change less than the references,
    /// each of them short and from one place: as their roots and, where the update comes between sums and copies, as the power
    /// of 3/4 (60 runs on Zen 4 after five calibrations, and within runs).
    public func exchanges(isSharded: Bool, ofCaches: Double) -> Double {
        let ofMemory = isSharded ? pow(shardExchanges, 0.75) : gradientExchanges.squareRoot()
        return pow(cachedExchanges.squareRoot(), ofCaches) * pow(ofMemory, 1 - ofCaches)
    }
}

/// What ranks of a host exchange in a step.
public struct HostExchange: Codable, Sendable, Equatable {
    /// Of all gradients.
    public var bytes: Int
    /// Whether the update comes between sums and copies.
    public var isSharded: Bool

    public init(bytes: Int, isSharded: Bool) {
        self.bytes = bytes
        self.isSharded = isSharded
    }

    enum CodingKeys: String, CodingKey {
        case bytes
        case isSharded = "sharded"
    }

    /// How much of it comes from memory twice: the gradients and, behind the update of a sharded optimizer, the parameters. Sums
    /// are copied at once, while caches hold them.
    public var coldShare: Double { isSharded ? 1 - held(by: 4 << 20) : 0 }

    /// How far it goes with exchanges of what caches hold, and not with those from memory: up to the size of their reference
    /// with them alone.
    public var cachedShare: Double { held(by: ReferenceSpeed.cachedExchangeBytes) }

    private func held(by cache: Int) -> Double { min(1, Double(cache) / Double(max(1, bytes))) }
}
