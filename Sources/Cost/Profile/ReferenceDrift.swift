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

    /// - Parameters:
    ///   - speed: of now.
    ///   - calibrated: of then. Both are positive.
    public init(of speed: ReferenceSpeed, from calibrated: ReferenceSpeed) {
        guard !calibrated.isOfTurns else {
            (products, kernels, copies) = (1, 1, 1)
            (cachedExchanges, gradientExchanges, shardExchanges) = (1, 1, 1)
            return
        }
        products = speed.flopsPerSecond / calibrated.flopsPerSecond
        kernels = speed.kernelElementsPerSecond / calibrated.kernelElementsPerSecond
        copies = speed.copyBytesPerSecond / calibrated.copyBytesPerSecond
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
    }

    /// How fast ranks of a host exchange what depends on the machine by `shares`: a geometric mean, so that it does not matter
    /// which of two speeds is the calibrated one.
    ///
    /// From memory, gradients go with theirs, and shards half with theirs and half with copies; messages go with kernels.
    public func exchanges(isSharded: Bool, _ shares: HostExchange.Shares) -> Double {
        let ofMemory = isSharded ? (shardExchanges * copies).squareRoot() : gradientExchanges
        return pow(cachedExchanges, shares.caches) * pow(kernels, shares.messages)
            * pow(ofMemory, 1 - shares.caches - shares.messages)
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

    /// By how much it depends on caches and on what messages of no length take; the rest is memory's.
    public struct Shares: Sendable, Equatable {
        public var caches: Double
        public var messages: Double

        public init(caches: Double, messages: Double) {
            self.caches = caches
            self.messages = messages
        }

        /// What comes from memory still goes through caches.
        public static let ofMemory = Shares(caches: 0.1, messages: 0)
    }

    /// Found on two cores of Zen 4, each in turn of a cache with the other, of another one, and, as it seems, of another socket:
    /// the reference exchange of what caches hold then takes 1, 2.3 and 3.1 times as long, that of gradients from memory 1, 1.13
    /// and 2.7 times. Gradients of 2 to 3 MiB took 1, 1.3 and 2.4 times as long, of 16 to 64 MiB 1, 1.17 and 2.6 to 3.1 times.
    /// Shards of 4 to 64 MiB took 1, 0.82 and 0.83 times as long, their reference 1, 0.75 and 0.8 times, copies 1, 0.73 and 0.71
    /// times. Small shards are as on Zen 5, where exchanges from caches took 1.6 times as long, and theirs 1.3 to 1.7 times.
    public var shares: Shares {
        let few = isSharded ? Shares(caches: 0.8, messages: 0) : Shares(caches: 0.25, messages: 0.15)
        let many = Shares.ofMemory
        let held = held(by: 2 << 20)
        return Shares(
            caches: many.caches + (few.caches - many.caches) * held,
            messages: many.messages + (few.messages - many.messages) * held)
    }

    private func held(by cache: Int) -> Double { min(1, Double(cache) / Double(max(1, bytes))) }
}
