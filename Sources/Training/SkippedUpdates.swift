import Configs
import Ledger

/// Updates that were left out, because gradients were not finite, since the last one that was not.
struct SkippedUpdates {
    private var inARow = 0
    /// So many are not bad luck.
    private static let most = 10

    /// Counts the update of step `number` if it was left out, and writes that to `ledger`. Throws `.nonFinite`, on every rank,
    /// when there were too many in a row.
    mutating func note(_ result: StepResult, after number: Int, in ledger: RunLedger) throws {
        guard let reason = result.skipped else {
            inARow = 0
            return
        }
        if let scale = result.reducedLossScale {
            ledger.recordSkip(
                "step \(number): the gradients overflow fp16 at a loss scale of \(Int(2 * scale)); the update is left out, "
                    + "and the scale is \(Int(scale)) from now on")
            return
        }
        inARow += 1
        ledger.recordSkip(
            "\(reason); update \(inARow) in a row that is left out (train.on_non_finite: skip)")
        guard inARow < Self.most else {
            throw LockstepError(
                .nonFinite, "\(reason); \(inARow) updates in a row were left out, and the run ends")
        }
    }
}
