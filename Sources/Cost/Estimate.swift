import Configs
import Foundation

/// What a run will cost, from its configuration alone: `estimate.json`.
///
/// Memory is per rank and in bytes; FLOPs are those of the matrix products of one optimizer step over the whole
/// global batch, a multiply-add counted as two.
public struct Estimate: Codable, Sendable, Equatable {
    public let schemaVersion: Int
    public let ranks: Int
    public let hosts: Int
    /// N, in elements; every rank holds all of them.
    public let parameters: Int
    /// Sequences that a rank takes through one forward and backward pass.
    public let microBatch: Int
    public let flops: FLOPs
    public let memory: Memory
    public private(set) var time: Time
    public let traffic: Traffic

    /// - Parameters:
    ///   - hosts: that the ranks are spread over, at least 1.
    ///   - profile: what the machine can do; without it times, the runtime's memory and the peak are unknown.
    ///   - corpusTokens: tokens of the corpus, of which a split is evaluated on; nil when unknown.
    /// - Throws: `LockstepError` (`badConfiguration`) if the global batch cannot be divided among the ranks, if these do
    ///   not fill the hosts equally where that is needed, or if a count does not fit 64 bits.
    public init(
        config: RunConfig, ranks: Int, hosts: Int = 1, profile: Profile? = nil, corpusTokens: Int? = nil
    ) throws {
        try self.init(
            config: config, ranks: ranks, hosts: hosts, profile: profile, corpusTokens: corpusTokens,
            cluster: nil)
    }

    /// - Parameter cluster: that the run is planned for; nil for hosts as they were calibrated.
    init(
        config: RunConfig, ranks: Int, hosts: Int, profile: Profile?, corpusTokens: Int?,
        cluster: PlannedCluster?
    ) throws {
        try config.validate(ranks: ranks)
        let count = try ParameterCount(config.model)
        let parameters = count.total
        schemaVersion = 1
        self.ranks = ranks
        self.hosts = hosts
        self.parameters = parameters
        microBatch = try resolvedMicroBatch(config: config, ranks: ranks)
        let flops = try FLOPs(config.model, sequences: config.train.globalBatch)
        let exchange = try GradientExchange(
            config.parallel, parameters: parameters, ranks: ranks, hosts: hosts)
        let placement = Placement(ranks: ranks, hosts: hosts, threads: config.parallel.threadsPerRank)
        let runtime = profile.flatMap { [microBatch] in
            Memory.Runtime(config, $0, placement, microBatch: microBatch)
        }
        memory = try Memory(
            config, parameters: parameters, exchange: exchange, microBatch: microBatch, runtime: runtime)
        if let profile, cluster?.holds(memory) ?? true {
            time = Time(
                config, profile, placement, microBatch: microBatch, parameters: count,
                updated: exchange.updated, footprint: memory.arenas,
                validationSamples: corpusTokens.map(config.validationSamples(ofTokens:)) ?? 0,
                cluster: cluster)
        } else {
            time = Time()
        }
        traffic = try Traffic(exchange)
        // Which products are small enough to stay in fp32 is a matter of each.
        guard config.precision.executedProducts > 1 else {
            self.flops = flops
            return
        }
        let workload = Workload(
            config, microBatch: microBatch, sequencesPerRank: config.train.globalBatch / ranks)
        let executed =
            Count(ranks) * workload.executedFLOPs(config.model, products: config.precision.executedProducts)
        self.flops = try FLOPs(config.model, sequences: config.train.globalBatch, executed: executed)
    }

    /// The estimates of every rank when the ranks' reference products and copies run at `speeds`; none without times.
    public func atSpeed(_ speeds: [ReferenceSpeed]) -> [Estimate] {
        time.atSpeed(speeds).map { time in
            var result = self
            result.time = time
            return result
        }
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case ranks, hosts, parameters
        case microBatch = "micro_batch"
        case flops, memory, time, traffic
    }
}

extension Estimate {
    /// Bytes that a rank sends to others, the same on every rank.
    public struct Traffic: Codable, Sendable, Equatable {
        public let bytesPerStep: Int

        init(_ exchange: GradientExchange) throws {
            bytesPerStep = try exchange.sentBytes.exact("traffic")
        }

        enum CodingKeys: String, CodingKey { case bytesPerStep = "bytes_per_step" }
    }
}

/// An optional number that is encoded as null, not left out, when it is unknown.
@propertyWrapper
public struct NullWhenUnknown<Number: Codable & Sendable & Equatable>: Codable, Sendable, Equatable {
    public var wrappedValue: Number?

    public init(wrappedValue: Number? = nil) {
        self.wrappedValue = wrappedValue
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        wrappedValue = container.decodeNil() ? nil : try container.decode(Number.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        if let wrappedValue {
            try container.encode(wrappedValue)
        } else {
            try container.encodeNil()
        }
    }
}

extension Estimate {
    /// The estimate as `estimate.json` holds it.
    public func json() throws -> String {
        try Self.encoded(self)
    }

    /// One object for a single estimate, otherwise one object per world size in `ranks`.
    public static func json(_ estimates: [Estimate]) throws -> String {
        if estimates.count == 1 { return try estimates[0].json() }
        return try encoded(PerWorldSize(ranks: estimates))
    }

    private struct PerWorldSize: Encodable {
        let schemaVersion = 1
        let ranks: [Estimate]

        enum CodingKeys: String, CodingKey {
            case schemaVersion = "schema_version"
            case ranks
        }
    }

    private static func encoded(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}

extension RunConfig {
    /// Samples of the validation split of a corpus of so many tokens, both splits together.
    fileprivate func validationSamples(ofTokens tokens: Int) -> Int {
        let validation = Int((Double(tokens) * data.validationFraction).rounded())
        return max(0, (validation - 1) / model.contextLength)
    }
}
