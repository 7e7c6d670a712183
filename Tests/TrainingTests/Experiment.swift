import Foundation
import Ledger
import TestSupport

extension Experiment {
    func directory(_ name: String) throws -> RunDirectory { try RunDirectory(existing: run(name).path) }

    /// All samples of a run's ledger.
    func samples(_ name: String) throws -> [StepSample] {
        var reader = try LedgerReader(path: directory(name).ledger)
        var samples: [StepSample] = []
        while let line = try reader.next() { samples.append(line.sample) }
        return samples
    }

    /// Loss of every step.
    func losses(_ name: String) throws -> [Double] {
        try samples(name).filter { $0.rank == 0 }.map(\.loss)
    }
}

extension Experiment {
    /// The files of a run's checkpoint by name.
    func checkpoint(_ name: String, _ step: Int) throws -> [String: Data] {
        let folder = try "\(directory(name).checkpoints)/step-\(step)"
        let files = try FileManager.default.contentsOfDirectory(atPath: folder)
        return try Dictionary(
            uniqueKeysWithValues: files.map { ($0, try Data(contentsOf: URL(filePath: "\(folder)/\($0)"))) })
    }

    /// Validation losses of a run by step.
    func evaluations(_ name: String) throws -> [Int: Double?] {
        var reader = try EvaluationReader(path: directory(name).evaluations)
        var losses: [Int: Double?] = [:]
        while let record = try reader.next() { losses[record.step] = record.validationLoss }
        return losses
    }

    /// Leaves a run as if it had been killed when its newest checkpoint was that of step `step`, with more in its records
    /// and something half-written in its folder.
    func interrupt(_ name: String, behind step: Int) throws {
        let run = try directory(name)
        for entry in try FileManager.default.contentsOfDirectory(atPath: run.checkpoints) {
            guard let saved = Int(entry.dropFirst("step-".count)), entry.hasPrefix("step-"), saved > step
            else { continue }
            try FileManager.default.removeItem(atPath: "\(run.checkpoints)/\(entry)")
        }
        try FileManager.default.createDirectory(
            atPath: "\(run.checkpoints)/.tmp-step-99-x", withIntermediateDirectories: true)
        var status = try RunStatus.read(from: run.status)
        status.state = .running
        status.exitCode = nil
        try status.write(to: run.status)
        try Data("step-\(step)\n".utf8).write(to: URL(filePath: "\(run.checkpoints)/latest"))
    }
}
