import Configs
import Cost
import Foundation

/// What a run measured beside its steps, as far as its folder tells.
struct RunMeasurements {
    /// Medians over all of them, in seconds.
    var evaluationSeconds: Double?
    var checkpointSeconds: Double?
    /// What the ranks on the host of rank 0 take together, in bytes.
    var hostBytes: Int?
    var speed: RunSpeed?

    /// Reads the files that there are, as far as they tell of steps behind step `step`. Throws `badData` with file and line
    /// when one is damaged.
    init(of run: RunDirectory, after step: Int) throws(LockstepError) {
        func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }
        if exists(run.evaluations) {
            var reader = try EvaluationReader(path: run.evaluations)
            var seconds: [Double] = []
            while let record = try reader.next() {
                if record.step > step { seconds += [record.seconds].compactMap { $0 } }
            }
            evaluationSeconds = median(seconds)
        }
        if exists(run.checkpointLog) {
            var reader = try CheckpointReader(path: run.checkpointLog)
            var seconds: [Double] = []
            while let record = try reader.next() {
                if record.step > step { seconds.append(record.seconds) }
            }
            checkpointSeconds = median(seconds)
        }
        if exists(run.memory) {
            hostBytes = try JSONFile.read(RunMemory.self, from: run.memory).hosts.first?.bytes
        }
        if exists(run.speed) { speed = try RunSpeed.read(from: run.speed) }
    }
}

/// nil of nothing.
func median(_ values: [Double]) -> Double? {
    values.isEmpty ? nil : values.median
}
