import Foundation

/// Measured reductions over one group of ranks: the time to sum n bytes over all of them, bucket by bucket as training
/// does it, and the straight line through it.
public struct ReductionModel: Codable, Sendable, Equatable {
    public struct Sample: Codable, Sendable, Equatable {
        /// Of the vector that is reduced.
        public var bytes: Int
        public var seconds: Double

        public init(bytes: Int, seconds: Double) {
            self.bytes = bytes
            self.seconds = seconds
        }
    }

    /// `ring` or `hierarchical`.
    public var algorithm: String
    /// Ranks and hosts that took part.
    public var ranks: Int
    public var hosts: Int
    /// By ascending size.
    public var samples: [Sample]
    /// The same of reductions of which both halves, sums and copies, come from memory; none where that makes no difference.
    public var coldSamples: [Sample]
    /// Seconds of a message of no length (α) and of a byte that a rank sends (β), with its share of the additions.
    public private(set) var latency: Double
    public private(set) var secondsPerByte: Double
    /// Median |relative error| of the line over the samples.
    public private(set) var medianError: Double

    enum CodingKeys: String, CodingKey {
        case algorithm, ranks, hosts, samples
        case latency = "alpha_seconds"
        case secondsPerByte = "beta_seconds_per_byte"
        case medianError = "median_error"
        case coldSamples = "cold_samples"
    }

    /// - Parameters:
    ///   - samples: at least one.
    ///   - bucketBytes: of the buckets that they were reduced in.
    public init(
        algorithm: String, ranks: Int, hosts: Int, samples: [Sample], coldSamples: [Sample] = [],
        bucketBytes: Int
    ) {
        self.algorithm = algorithm
        self.ranks = ranks
        self.hosts = hosts
        self.samples = samples.sorted { $0.bytes < $1.bytes }
        self.coldSamples = coldSamples.sorted { $0.bytes < $1.bytes }
        let found = NonNegativeLeastSquares.fitRelative(
            samples.map { sample in
                let cost = Self.ring(bytes: sample.bytes, ranks: ranks, bucketBytes: bucketBytes)
                return ([cost.messages, cost.bytes], sample.seconds)
            })
        (latency, secondsPerByte) = (found[0], found[1])
        medianError = 0
        let errors = samples.map { sample in
            abs(line(bytes: sample.bytes, ranks: ranks, bucketBytes: bucketBytes) / sample.seconds - 1)
        }.sorted()
        medianError = errors[errors.count / 2]
    }

    /// Messages in a row and bytes that a rank sends in ring allreduces of `bytes` in buckets: 2(p − 1) messages a bucket,
    /// each a p-th of it (Patarasuk and Yuan 2009).
    public static func ring(bytes: Int, ranks: Int, bucketBytes: Int) -> (messages: Double, bytes: Double) {
        let buckets = (Double(bytes) / Double(bucketBytes)).rounded(.up)
        let stages = 2 * Double(ranks - 1)
        return (buckets * stages, Double(bytes) * stages / Double(ranks))
    }

    /// α and β over any number of ranks.
    public func line(bytes: Int, ranks: Int, bucketBytes: Int) -> Double {
        let cost = Self.ring(bytes: bytes, ranks: ranks, bucketBytes: bucketBytes)
        return cost.messages * latency + cost.bytes * secondsPerByte
    }

    /// Seconds to reduce `bytes` over the measured group: between the samples; below them by the line, above them
    /// in proportion.
    ///
    /// - Parameter coldShare: how much of it comes from memory twice.
    public func seconds(bytes: Int, coldShare: Double, bucketBytes: Int) -> Double {
        guard bytes > 0 else { return 0 }
        let once = seconds(bytes: bytes, between: samples, bucketBytes: bucketBytes)
        guard coldShare > 0, !coldSamples.isEmpty else { return once }
        let twice = seconds(bytes: bytes, between: coldSamples, bucketBytes: bucketBytes)
        return (1 - coldShare) * once + coldShare * twice
    }

    private func seconds(bytes: Int, between samples: [Sample], bucketBytes: Int) -> Double {
        guard let first = samples.first, let last = samples.last else { return 0 }
        if bytes <= first.bytes {
            let base = line(bytes: first.bytes, ranks: ranks, bucketBytes: bucketBytes)
            return line(bytes: bytes, ranks: ranks, bucketBytes: bucketBytes) * first.seconds / base
        }
        if bytes >= last.bytes { return last.seconds * Double(bytes) / Double(last.bytes) }
        let upper = samples.firstIndex { $0.bytes >= bytes }!
        let (a, b) = (samples[upper - 1], samples[upper])
        let share = log(Double(bytes) / Double(a.bytes)) / log(Double(b.bytes) / Double(a.bytes))
        return a.seconds * pow(b.seconds / a.seconds, share)
    }
}
