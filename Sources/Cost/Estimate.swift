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
    public let time: Time
    public let traffic: Traffic

    /// - Parameters:
    ///   - hosts: that the ranks are spread over.
    ///   - profile: what the machine can do; without it times, the runtime's memory and the peak are unknown.
    ///   - corpusTokens: tokens of the corpus, whose mapped pages count as memory; nil when unknown.
    /// - Throws: `LockstepError` (`badConfiguration`) if the global batch cannot be divided among the ranks, or if a
    ///   count does not fit 64 bits.
    public init(
        config: RunConfig, ranks: Int, hosts: Int = 1, profile: Profile? = nil, corpusTokens: Int? = nil
    ) throws {
        try config.validate(ranks: ranks)
        let parameters = try ParameterCount(config.model).total
        schemaVersion = 1
        self.ranks = ranks
        self.hosts = hosts
        self.parameters = parameters
        microBatch = try resolvedMicroBatch(config: config, ranks: ranks)
        flops = try FLOPs(config.model, sequences: config.train.globalBatch)
        let corpus = corpusTokens.map { MappedCorpus(tokens: $0, config: config) }
        let placement = Placement(ranks: ranks, hosts: hosts, threads: config.parallel.threadsPerRank)
        let runtime = profile.flatMap { [microBatch] in
            Memory.Runtime(config, $0, placement, microBatch: microBatch, corpus: corpus)
        }
        memory = try Memory(config, parameters: parameters, microBatch: microBatch, runtime: runtime)
        if let profile {
            time = Time(
                config, profile, placement, microBatch: microBatch, parameters: parameters,
                updated: parameters, footprint: memory.arenas,
                validationSamples: corpus?.validationSamples ?? 0)
        } else {
            time = Time()
        }
        traffic = try Traffic(parameters: parameters, ranks: ranks)
    }

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case ranks, hosts, parameters
        case microBatch = "micro_batch"
        case flops, memory, time, traffic
    }
}

extension Estimate {
    /// Bytes that a rank hands to reductions.
    public struct Traffic: Codable, Sendable, Equatable {
        public let bytesPerStep: Int

        /// One allreduce of the fp32 gradients (4N) and one of the loss sum and token count; a single rank has
        /// nobody to talk to.
        init(parameters: Int, ranks: Int) throws {
            let payload = 4 * Count(parameters) + Count(Memory.lossReductionBytes)
            bytesPerStep = ranks == 1 ? 0 : try payload.exact("traffic")
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
