import ArgumentParser
import Configs
import Foundation
import Kernels
import MessagePassing
import Training

struct ReductionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reductions",
        abstract: "Time sums of gradients over ranks, from 16 KiB to 64 MiB.",
        discussion: """
            As training does them: buckets in rings. Before each, every rank writes its gradients and goes through \
            other memory.

            Example:
              mpirun -n 2 benchmarks reductions
            """)

    @Option(help: ArgumentHelp("How often each size takes its turn.", valueName: "N"))
    var rounds = 9

    @Option(help: ArgumentHelp("Largest bucket, in MiB (parallel.bucket_mib), or auto.", valueName: "MIB"))
    var bucketMib = "auto"

    private var bucketSize: ParallelConfig.BucketSize? {
        guard bucketMib != "auto" else { return .auto }
        return Int(bucketMib).flatMap { (1...1024).contains($0) ? .mebibytes($0) : nil }
    }

    @Flag(help: "Print JSON and nothing else.")
    var json = false

    func validate() throws {
        guard rounds >= 1 else { throw ValidationError("--rounds must be at least 1.") }
        guard bucketSize != nil else { throw ValidationError("--bucket-mib must be auto or from 1 to 1024.") }
    }

    func run() throws {
        try withRanks { world in
            try world.collectively {
                guard world.size > 1 else {
                    throw LockstepError(
                        .usage,
                        "one rank has nobody to sum with; start it as mpirun -n 2 benchmarks reductions")
                }
            }
            var parallel = ParallelConfig()
            parallel.bucketMib = bucketSize ?? .auto
            let bucketBytes = parallel.bucketBytes(ranks: world.size)
            let topology = try Topology(.auto, world: world)
            let timings = try ReductionTiming.measure(
                over: topology, bucketBytes: bucketBytes, rounds: rounds, on: world)
            guard world.rank == 0 else { return }
            let report = ReductionsReport(
                ranks: world.size, hosts: topology.hosts, algorithm: topology.reduction.rawValue,
                bucketBytes: bucketBytes, reductions: timings)
            try writeReport(report, asJSON: json) { table(report) }
        }
    }

    private func table(_ report: ReductionsReport) -> String {
        let header = ["KiB", "ms", "GB/s", "sent GB/s a rank"]
        let title =
            "\(report.ranks) ranks on \(report.hosts) host\(report.hosts == 1 ? "" : "s"), \(report.algorithm), "
            + "buckets of \(report.bucketBytes >> 10) KiB"
        return title + "\n"
            + BenchmarkTable.text(
                [header]
                    + report.reductions.map { timing in
                        [
                            "\(timing.bytes >> 10)",
                            String(
                                format: "%.3f (%.3f-%.3f)", 1e3 * timing.seconds, 1e3 * timing.least,
                                1e3 * timing.most),
                            String(format: "%.2f", 1e-9 * timing.bytesPerSecond),
                            String(format: "%.2f", 1e-9 * timing.sentBytesPerSecond),
                        ]
                    }, leftColumns: 0)
    }
}

private struct ReductionsReport: Encodable {
    let schemaVersion = 1
    let ranks: Int
    let hosts: Int
    let algorithm: String
    let bucketBytes: Int
    let reductions: [ReductionTiming]

    enum CodingKeys: String, CodingKey {
        case schemaVersion = "schema_version"
        case bucketBytes = "bucket_bytes"
        case ranks, hosts, algorithm, reductions
    }
}

/// How long all ranks took to sum so many bytes of gradients.
struct ReductionTiming: Encodable {
    let bytes: Int
    /// Of the slowest rank: median over the rounds, least and most.
    let seconds: Double
    let least: Double
    let most: Double
    /// Gradients that are summed, and what each rank sends for it, 2(p − 1)/p times as much, a second.
    let bytesPerSecond: Double
    let sentBytesPerSecond: Double

    enum CodingKeys: String, CodingKey {
        case bytes, seconds, least, most
        case bytesPerSecond = "bytes_per_second"
        case sentBytesPerSecond = "sent_bytes_per_second"
    }

    /// Collective.
    static func measure(
        over topology: Topology, bucketBytes: Int, rounds: Int, on world: borrowing Communicator
    ) throws -> [ReductionTiming] {
        let sizes = [1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26]
        let gradients = try AlignedBuffer<Float>(count: sizes.last! / 4)
        let other = try AlignedBuffer<Float>(count: (48 << 20) / 4)
        var seconds: [[Double]] = Array(repeating: [], count: sizes.count)
        for round in 0...rounds {
            for (index, bytes) in sizes.enumerated() {
                let vector = gradients.vector.slice(0..<bytes / 4)
                var reduction = try BucketedCollective(
                    .allreduce, vector, bucketBytes: bucketBytes, over: topology)
                Reductions.fill(vector, with: 1)
                Reductions.scale(other.vector, by: 1)
                try world.barrier()
                let start = ContinuousClock.now
                try reduction.finish()
                let time = try world.slowest((ContinuousClock.now - start) / .seconds(1))
                if round > 0 { seconds[index].append(time) }
            }
        }
        let share = 2 * Double(world.size - 1) / Double(world.size)
        return zip(sizes, seconds).map { bytes, times in
            let times = times.sorted()
            let median = times[times.count / 2]
            return ReductionTiming(
                bytes: bytes, seconds: median, least: times[0], most: times[times.count - 1],
                bytesPerSecond: Double(bytes) / median, sentBytesPerSecond: share * Double(bytes) / median)
        }
    }
}
