import Foundation

/// How fast a machine is over how fast it was when it was calibrated: 1 is no change. Where ranks took turns on cores then,
/// all are 1.
public struct ReferenceDrift: Sendable, Equatable {
    public let products: Double
    public let kernels: Double
    public let copies: Double
    /// Of what caches hold; 1, too, where one of both speeds is not known.
    public let exchanges: Double
    /// The same of what comes from memory.
    public let coldExchanges: Double

    /// - Parameters:
    ///   - speed: of now.
    ///   - calibrated: of then. Both are positive.
    public init(of speed: ReferenceSpeed, from calibrated: ReferenceSpeed) {
        guard !calibrated.isOfTurns else {
            (products, kernels, copies, exchanges, coldExchanges) = (1, 1, 1, 1, 1)
            return
        }
        products = speed.flopsPerSecond / calibrated.flopsPerSecond
        kernels = speed.kernelElementsPerSecond / calibrated.kernelElementsPerSecond
        copies = speed.copyBytesPerSecond / calibrated.copyBytesPerSecond
        func ratio(_ rate: KeyPath<ReferenceSpeed, Double?>) -> Double {
            guard let now = speed[keyPath: rate], let then = calibrated[keyPath: rate] else { return 1 }
            return now / then
        }
        exchanges = ratio(\.exchangeBytesPerSecond)
        coldExchanges = ratio(\.coldExchangeBytesPerSecond)
    }

    /// Of `work`, at the speed of now.
    public func seconds(_ work: WorkSeconds) -> Double {
        (work.products + work.headProducts) / products + work.kernels / kernels + work.memory / copies
    }

    /// How fast ranks of a host exchange what comes from caches by a part of `ofCaches`, and from memory, where half goes with
    /// exchanges and half with copies: a geometric mean, so that it does not matter which of two speeds is the calibrated one.
    public func exchanges(ofCaches: Double) -> Double {
        pow(exchanges, ofCaches) * pow(coldExchanges * copies, (1 - ofCaches) / 2)
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

    /// How far it goes with exchanges of what caches hold, and not with those from memory.
    ///
    /// Found where two cores of Zen 5 share a last-level cache one moment and do not the next: the reference exchange of what
    /// caches hold then takes 1.6 times as long, that from memory 0.82 times, a copy 0.65 times. Steps' sums of 1 to 2 MiB took 1.3
    /// to 1.7 times as long, of 17 to 88 MiB 1.2 times, and shards of 18 to 256 MiB 0.7 to 0.8 times. Where other users filled that
    /// cache and slowed memory, all took 1.1 to 1.3 times as long, as did the references.
    var cachedShare: Double {
        let (ofFew, ofMany) = (0.8, isSharded ? 0 : 0.5)
        return ofMany + (ofFew - ofMany) * held(by: 2 << 20)
    }

    private func held(by cache: Int) -> Double { min(1, Double(cache) / Double(max(1, bytes))) }
}
