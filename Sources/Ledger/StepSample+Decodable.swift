import Cost

/// A line of `ledger.jsonl`: a sample, and the host its rank ran on.
public struct LedgerLine: Sendable, Equatable, Decodable {
    public let sample: StepSample
    public let host: String

    private enum CodingKeys: String, CodingKey { case host }

    public init(from decoder: any Decoder) throws {
        sample = try StepSample(from: decoder)
        host = try decoder.container(keyedBy: CodingKeys.self).decode(String.self, forKey: .host)
    }
}

extension StepSample: Decodable {
    private enum CodingKeys: String, CodingKey {
        case step, rank, loss, tokens, seconds, bytes, skipped, speed
        case learningRate = "learning_rate"
        case gradientNorm = "gradient_norm"
        case matmulFLOPs = "matmul_flops"
        case sentBytes = "sent_bytes"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(step: try values.count(.step), rank: try values.count(.rank))
        loss = try values.real(.loss)
        tokens = try values.count(.tokens)
        learningRate = try values.real(.learningRate)
        gradientNorm = try values.real(.gradientNorm)
        seconds = try values.decode(Seconds.self, forKey: .seconds)
        matmulFLOPs = try values.count(.matmulFLOPs)
        bytes = try values.decode(Bytes.self, forKey: .bytes)
        sentBytes = try values.count(.sentBytes)
        isSkipped = try values.decodeIfPresent(Bool.self, forKey: .skipped) ?? false
        speed = try values.decodeIfPresent(Speed.self, forKey: .speed)
    }
}

extension StepSample.Speed: Decodable {
    private enum CodingKeys: String, CodingKey {
        case flopsPerSecond = "flops_per_second"
        case kernelElementsPerSecond = "kernel_elements_per_second"
        case copyBytesPerSecond = "copy_bytes_per_second"
        case exchange
        case handoverBytesPerSecond = "handover_bytes_per_second"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func check(_ rate: Double, of key: CodingKeys, _ part: String = "") throws {
            guard rate >= 1, rate <= 1e18 else {
                throw DecodingError.dataCorruptedError(
                    forKey: key, in: values, debugDescription: "\(part)\(rate) is no machine's speed")
            }
        }
        func rate(_ key: CodingKeys) throws -> Double {
            let rate = try values.real(key)
            try check(rate, of: key)
            return rate
        }
        flopsPerSecond = try rate(.flopsPerSecond)
        kernelElementsPerSecond = try rate(.kernelElementsPerSecond)
        copyBytesPerSecond = try rate(.copyBytesPerSecond)
        exchange = try values.decodeIfPresent(ExchangeSpeed.self, forKey: .exchange)
        for (key, rate) in exchange?.rates ?? [] { try check(rate, of: .exchange, "'\(key)' of ") }
        handoverBytesPerSecond =
            values.contains(.handoverBytesPerSecond) ? try rate(.handoverBytesPerSecond) : nil
    }
}

extension StepSample.Seconds: Decodable {
    private enum CodingKeys: String, CodingKey {
        case data, forward, backward, wait, optimizer, total
        case reduceOverlapped = "reduce_overlapped"
        case reduceExposed = "reduce_exposed"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        data = try values.real(.data)
        forward = try values.real(.forward)
        backward = try values.real(.backward)
        reduceOverlapped = try values.real(.reduceOverlapped)
        wait = try values.real(.wait)
        reduceExposed = try values.real(.reduceExposed)
        optimizer = try values.real(.optimizer)
        total = try values.real(.total)
    }
}

extension StepSample.Bytes: Decodable {
    private enum CodingKeys: String, CodingKey {
        case parameters, gradients, optimizer, activations, workspace, communication, data
        case resident = "rss"
        case residentPeak = "rss_peak"
        case residentAnonymous = "rss_anonymous"
        case residentFile = "rss_file"
        case residentShared = "rss_shared"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        resident = try values.count(.resident)
        residentPeak = try values.count(.residentPeak)
        residentAnonymous = try values.count(.residentAnonymous)
        residentFile = try values.count(.residentFile)
        residentShared = try values.count(.residentShared)
        parameters = try values.count(.parameters)
        gradients = try values.count(.gradients)
        optimizer = try values.count(.optimizer)
        activations = try values.count(.activations)
        workspace = try values.count(.workspace)
        communication = try values.count(.communication)
        data = try values.count(.data)
    }
}

extension KeyedDecodingContainer {
    /// An integer that a double holds exactly and that is no less than zero.
    fileprivate func count(_ key: Key) throws -> Int {
        let value = try decode(Int.self, forKey: key)
        guard (0...1 << 53).contains(value) else {
            throw DecodingError.dataCorruptedError(
                forKey: key, in: self, debugDescription: "\(value) lies outside of 0 … 2^53")
        }
        return value
    }

    /// A number, or null for one that is not finite.
    fileprivate func real(_ key: Key) throws -> Double {
        try decodeNil(forKey: key) ? .nan : decode(Double.self, forKey: key)
    }
}
