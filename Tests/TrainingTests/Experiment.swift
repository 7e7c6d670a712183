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
