import Configs
import Foundation
import Ledger
import Testing

/// Calls `body` with the path of a folder that is gone afterwards.
func withTemporaryFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
    let path = NSTemporaryDirectory() + "/ledger-tests-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try body(path)
}

func contents(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

/// The status and text of the error that `body` throws.
func failure<Result>(_ body: () throws -> Result) throws -> LockstepError {
    do {
        _ = try body()
    } catch let error as LockstepError {
        return error
    }
    Issue.record("nothing was thrown")
    throw CancellationError()
}

extension LedgerReader where Record == LedgerLine {
    static func readAll(_ path: String) throws -> (lines: [LedgerLine], truncatedLine: Int?) {
        var reader = try LedgerReader(path: path)
        var lines: [LedgerLine] = []
        while let line = try reader.next() { lines.append(line) }
        return (lines, reader.truncatedLine)
    }
}

/// A run of made-up figures: N = 1000 parameters, and samples that agree with the estimate unless changed.
struct FakeRun {
    var ranks = 2
    var steps = 5
    var peak: Int? = 200_000
    var timeOfStep: Double?
    /// Every time has an estimate, which holds at 100 GFLOP/s and 10 GB/s.
    var isCalibrated = false
    /// Several in each rank.
    var hasThreads = false
    var hosts = 1

    var estimate: String {
        """
        {"schema_version": 1, "ranks": \(ranks), "hosts": \(hosts), "parameters": 1000, "micro_batch": 2,
         "flops": {"forward": 4000, "backward": 8000, "recomputed": 0, "per_step": 14000,
                   "executed": 12000},
         "memory": {"parameters": 4000, "gradients": 4000, "optimizer": 8000, "activations": 30000,
                    "workspace": 2500, "communication": 16, "data": 512,
                    "runtime": \(isCalibrated ? "140000" : "null"), "coordinator": \(isCalibrated ? "10000" : "null"),
                    "peak": \(peak.map(String.init) ?? "null"), "node": \(isCalibrated ? "350000" : "null")},
         "time": \(isCalibrated ? calibratedTime : uncalibratedTime),
         "traffic": {"bytes_per_step": \(ranks > 1 ? 4016 : 0)}}
        """
    }

    private var uncalibratedTime: String {
        """
        {"forward": null, "backward": null, "reduce": null, "reduce_overlapped": null, "wait": null, "optimizer": null,
         "step": \(timeOfStep.map { "\($0)" } ?? "null"), "evaluation": null, "checkpoint": null,
         "uncertainty": null}
        """
    }

    private var handover: String { hasThreads ? #""handover_bytes_per_second": 8e9, "# : "" }

    private var calibratedTime: String {
        """
        {"forward": 0.035, "backward": 0.02, "reduce": 0.003, "reduce_overlapped": 0, "wait": 0, "optimizer": 0.004,
         "step": 0.062, "evaluation": 0.7, "checkpoint": 0.1, "uncertainty": 0.05,
         "limits": {"jitter": 0, "forward": {"products": 0.015, "head_products": 0.005, "kernels": 0.01, "memory": 0.005,
                                             "handovers": 0},
                    "backward": {"products": 0.015, "head_products": 0, "kernels": 0, "memory": 0.005, "handovers": 0},
                    "optimizer": {"products": 0, "head_products": 0, "kernels": 0, "memory": 0.004, "handovers": 0},
                    "exchange": {"bytes": 8388608, "sharded": false},
                    "reference": {"flops_per_second": 1e11, "kernel_elements_per_second": 1e9,
                                  "copy_bytes_per_second": 1e10, "exchange": {"cached_bytes_per_second": 1e10,
                                  "gradient_bytes_per_second": 1e10,
                                  "shard_bytes_per_second": 1e10}, \(handover)"product_spread": 0.02,
                                  "kernel_spread": 0.01, "copy_spread": 0.03}}}
        """
    }

    func sample(step: Int, rank: Int) -> StepSample {
        var sample = StepSample(step: step, rank: rank)
        sample.loss = 5.5 / Double(step)
        sample.tokens = 256
        sample.learningRate = 1e-3
        sample.gradientNorm = 0.75
        sample.seconds = .init(
            data: 0.001, forward: 0.01 * Double(step), backward: 0.02, reduceExposed: 0.003, optimizer: 0.004,
            total: 0.05)
        sample.matmulFLOPs = 12_000 / ranks
        sample.bytes.record(
            .init(resident: 180_000, peak: 200_000, anonymous: 150_000, file: 20_000, shared: 10_000))
        sample.bytes.parameters = 4000
        sample.bytes.gradients = 4000
        sample.bytes.optimizer = 8000
        sample.bytes.activations = 30_000
        sample.bytes.workspace = 2500
        sample.bytes.communication = 16
        sample.bytes.data = 512
        sample.sentBytes = ranks > 1 ? 4016 : 0
        return sample
    }

    /// Writes the run below `folder`; `change` alters samples on their way into the ledger.
    func write(below folder: String, change: (inout StepSample) -> Void = { _ in }) throws -> RunDirectory {
        let run = try NewRunDirectory(path: folder + "/run").keep()
        try Data(estimate.utf8).write(to: URL(filePath: run.estimate))
        var writer = try LedgerWriter(path: run.ledger, hosts: (0..<ranks).map { "node\($0)" })
        for step in 1...steps {
            for rank in 0..<ranks {
                var sample = sample(step: step, rank: rank)
                change(&sample)
                try writer.append(sample)
            }
        }
        try writer.flush()
        return run
    }

    func verification(
        _ tolerances: Tolerances = Tolerances(), change: (inout StepSample) -> Void = { _ in }
    ) throws -> Verification {
        try withTemporaryFolder { folder in
            try Verification(of: write(below: folder, change: change), tolerances: tolerances)
        }
    }
}

extension Verification {
    func result(_ term: String, rank: Int = 0) throws -> Result {
        try #require(results.first { $0.term == term && $0.rank == rank })
    }
}
