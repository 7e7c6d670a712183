import Foundation
import Ledger
import MessagePassing

extension RunDirectory {
    /// Lays the ledger of a run that has ended beside its estimate and, when it `reports`, says in a line or two how they
    /// agree.
    func conclude(reports: Bool) throws {
        let result = try Verification(of: self)
        try JSONFile.write(result, to: verification)
        guard reports else { return }
        let table = VerificationTable(result, terminal: Terminal(descriptor: STDERR_FILENO))
        reportToStandardError(table.verdict + "\n`lockstep verify \(path)` shows every term")
    }
}
