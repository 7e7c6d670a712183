import Configs
import Cost
import Foundation

/// Appends samples to a run's `ledger.jsonl`, on the coordinator.
///
/// Lines are buffered until `flush`, and appending one allocates nothing. When the disk fails, one call throws; the lines from then
/// on are counted in `lostLines` and dropped, as telemetry is no reason to stop training.
public struct LedgerWriter: ~Copyable {
    private var file: LineFile
    /// The host of every rank as a JSON string.
    private let hosts: [[UInt8]]

    /// Opens the file for appending, creating it if need be. `hosts` names the host of every rank.
    public init(path: String, hosts: [String]) throws(LockstepError) {
        file = try LineFile(path: path)
        self.hosts = hosts.map(Self.quoted)
    }

    /// Lines that could not be written.
    public var lostLines: Int { file.lostLines }

    /// Adds a sample of a rank that has a host. Throws once, when lines could not be written.
    public mutating func append(_ sample: StepSample) throws(LockstepError) {
        precondition(hosts.indices.contains(sample.rank), "no host is known for rank \(sample.rank)")
        try file.line { json in
            json.put("{\"step\":")
            json.put(sample.step)
            json.put(",\"rank\":")
            json.put(sample.rank)
            json.put(",\"host\":")
            hosts[sample.rank].withUnsafeBufferPointer { json.append($0) }
            json.put(",\"loss\":")
            json.put(sample.loss)
            json.put(",\"tokens\":")
            json.put(sample.tokens)
            json.put(",\"learning_rate\":")
            json.put(sample.learningRate)
            json.put(",\"gradient_norm\":")
            json.put(sample.gradientNorm)
            json.put(",\"seconds\":")
            json.put(sample.seconds)
            json.put(",\"matmul_flops\":")
            json.put(sample.matmulFLOPs)
            json.put(",\"bytes\":")
            json.put(sample.bytes)
            json.put(",\"sent_bytes\":")
            json.put(sample.sentBytes)
            if sample.isSkipped { json.put(",\"skipped\":true") }
            if let speed = sample.speed {
                json.put(",\"speed\":{\"flops_per_second\":")
                json.put(speed.flopsPerSecond)
                json.put(",\"kernel_elements_per_second\":")
                json.put(speed.kernelElementsPerSecond)
                json.put(",\"copy_bytes_per_second\":")
                json.put(speed.copyBytesPerSecond)
                if let exchange = speed.exchange {
                    json.put(",\"exchange\":{\"cached_bytes_per_second\":")
                    json.put(exchange.cached)
                    json.put(",\"gradient_bytes_per_second\":")
                    json.put(exchange.gradients)
                    json.put(",\"shard_bytes_per_second\":")
                    json.put(exchange.shards)
                    json.put("}")
                }
                if let rate = speed.handoverBytesPerSecond {
                    json.put(",\"handover_bytes_per_second\":")
                    json.put(rate)
                }
                json.put("}")
            }
            json.put("}")
        }
    }

    /// Hands the buffered lines to the system. Throws once, when they could not be written.
    public mutating func flush() throws(LockstepError) { try file.flush() }

    /// A host name as a JSON string; what is no character of a host name becomes `?`.
    private static func quoted(_ host: String) -> [UInt8] {
        let quote = UInt8(ascii: "\"")
        let safe = host.utf8.prefix(255).map { byte -> UInt8 in
            let isPlain = (0x20...0x7e).contains(byte) && byte != quote && byte != UInt8(ascii: "\\")
            return isPlain ? byte : UInt8(ascii: "?")
        }
        return [quote] + safe + [quote]
    }
}

extension JSONCursor {
    fileprivate mutating func put(_ seconds: StepSample.Seconds) {
        put("{\"data\":")
        put(seconds.data)
        put(",\"forward\":")
        put(seconds.forward)
        put(",\"backward\":")
        put(seconds.backward)
        put(",\"reduce_overlapped\":")
        put(seconds.reduceOverlapped)
        put(",\"wait\":")
        put(seconds.wait)
        put(",\"reduce_exposed\":")
        put(seconds.reduceExposed)
        put(",\"optimizer\":")
        put(seconds.optimizer)
        put(",\"total\":")
        put(seconds.total)
        put("}")
    }

    fileprivate mutating func put(_ bytes: StepSample.Bytes) {
        put("{\"rss\":")
        put(bytes.resident)
        put(",\"rss_peak\":")
        put(bytes.residentPeak)
        put(",\"rss_anonymous\":")
        put(bytes.residentAnonymous)
        put(",\"rss_file\":")
        put(bytes.residentFile)
        put(",\"rss_shared\":")
        put(bytes.residentShared)
        put(",\"parameters\":")
        put(bytes.parameters)
        put(",\"gradients\":")
        put(bytes.gradients)
        put(",\"optimizer\":")
        put(bytes.optimizer)
        put(",\"activations\":")
        put(bytes.activations)
        put(",\"workspace\":")
        put(bytes.workspace)
        put(",\"communication\":")
        put(bytes.communication)
        put(",\"data\":")
        put(bytes.data)
        put("}")
    }
}
