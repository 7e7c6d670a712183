/// Speed of a short fixed product, of row kernels, of a copy from memory, of a sum over the ranks of a host and of what threads
/// hand over to each other, which a run repeats to see how far its machine has drifted. Each follows something of its own: a
/// core that is shared with another hardware thread multiplies half as fast, while kernels that wait for their own results
/// lose less; where a hypervisor moves two cores of a last-level cache to one each, copies become faster by a third, sums of
/// little slower, and handovers take four times as long.
public struct ReferenceSpeed: Codable, Sendable, Equatable {
    public var flopsPerSecond: Double
    public var kernelElementsPerSecond: Double
    public var copyBytesPerSecond: Double
    /// nil of a rank by itself, and of ranks on several hosts.
    public var exchange: ExchangeSpeed?
    /// What a thread overwrites in a second of what others have read; nil of ranks with one thread.
    public var handoverBytesPerSecond: Double?
    /// Half the distance between 10th and 90th percentile over the median, of each.
    public var productSpread: Double
    public var kernelSpread: Double
    public var copySpread: Double

    public init(
        flopsPerSecond: Double, kernelElementsPerSecond: Double, copyBytesPerSecond: Double,
        exchange: ExchangeSpeed? = nil, handoverBytesPerSecond: Double? = nil, productSpread: Double = 0,
        kernelSpread: Double = 0, copySpread: Double = 0
    ) {
        self.flopsPerSecond = flopsPerSecond
        self.kernelElementsPerSecond = kernelElementsPerSecond
        self.copyBytesPerSecond = copyBytesPerSecond
        self.exchange = exchange
        self.handoverBytesPerSecond = handoverBytesPerSecond
        self.productSpread = productSpread
        self.kernelSpread = kernelSpread
        self.copySpread = copySpread
    }

    enum CodingKeys: String, CodingKey {
        case flopsPerSecond = "flops_per_second"
        case kernelElementsPerSecond = "kernel_elements_per_second"
        case copyBytesPerSecond = "copy_bytes_per_second"
        case exchange
        case handoverBytesPerSecond = "handover_bytes_per_second"
        case productSpread = "product_spread"
        case kernelSpread = "kernel_spread"
        case copySpread = "copy_spread"
    }
}

extension ReferenceSpeed {
    /// The product that is repeated: within a core's own cache.
    public static let product = Product(.forward, m: 384, n: 384, k: 384)
    /// What GELU and layer norm are repeated over, within a core's own cache, too.
    public static let kernelShape = (rows: 64, columns: 256)
    /// Bytes that threads read from each other and overwrite, all of them: within a core's own cache.
    public static let handoverBytes = 256 << 10
    /// Bytes that a copy reads from memory, and writes to it.
    public static let copyBytes = 1 << 20
    /// Bytes that are summed over the ranks of a host: while caches hold them, and when they come from memory.
    public static let (cachedExchangeBytes, memoryExchangeBytes) = (2 << 20, 4 << 20)

    /// Whether products of a millisecond took so different times that ranks must have taken turns on the cores: such a sample
    /// tells whose turn it was, not how fast the machine is.
    public var isOfTurns: Bool { productSpread > 0.5 }

    /// The mean of `speeds`, and their widest spreads; at least one.
    public static func mean(of speeds: [ReferenceSpeed]) -> ReferenceSpeed {
        let count = Double(speeds.count)
        let exchanges = speeds.compactMap(\.exchange)
        let handovers = speeds.compactMap(\.handoverBytesPerSecond)
        return ReferenceSpeed(
            flopsPerSecond: speeds.reduce(0) { $0 + $1.flopsPerSecond } / count,
            kernelElementsPerSecond: speeds.reduce(0) { $0 + $1.kernelElementsPerSecond } / count,
            copyBytesPerSecond: speeds.reduce(0) { $0 + $1.copyBytesPerSecond } / count,
            exchange: exchanges.count == speeds.count ? .mean(of: exchanges) : nil,
            handoverBytesPerSecond: handovers.count == speeds.count ? handovers.reduce(0, +) / count : nil,
            productSpread: speeds.map(\.productSpread).max() ?? 0,
            kernelSpread: speeds.map(\.kernelSpread).max() ?? 0,
            copySpread: speeds.map(\.copySpread).max() ?? 0)
    }
}

/// How fast ranks of a host sum gradients, in bytes that each of them sends in a second.
public struct ExchangeSpeed: Codable, Sendable, Equatable {
    /// Of what caches hold.
    public var cached: Double
    /// Of what comes from memory, and whose sums are copied at once: the gradients of large models.
    public var gradients: Double
    /// Of what comes from memory before it is summed, and again before the sums are copied, as with a sharded optimizer.
    public var shards: Double

    public init(cached: Double, gradients: Double, shards: Double) {
        self.cached = cached
        self.gradients = gradients
        self.shards = shards
    }

    enum CodingKeys: String, CodingKey {
        case cached = "cached_bytes_per_second"
        case gradients = "gradient_bytes_per_second"
        case shards = "shard_bytes_per_second"
    }

    /// Each rate by its name in JSON.
    public var rates: [(key: String, rate: Double)] {
        [
            (CodingKeys.cached.rawValue, cached), (CodingKeys.gradients.rawValue, gradients),
            (CodingKeys.shards.rawValue, shards),
        ]
    }

    /// Of `speeds`, at least one.
    static func mean(of speeds: [ExchangeSpeed]) -> ExchangeSpeed {
        func mean(_ rate: KeyPath<ExchangeSpeed, Double>) -> Double {
            speeds.reduce(0) { $0 + $1[keyPath: rate] } / Double(speeds.count)
        }
        return ExchangeSpeed(cached: mean(\.cached), gradients: mean(\.gradients), shards: mean(\.shards))
    }
}
