import Foundation
import Ledger
import MessagePassing

/// How far a calibration is: one live line on a terminal, a line for each new subject elsewhere.
public struct CalibrationProgress {
    private let terminal = Terminal(descriptor: STDERR_FILENO)
    private var subject = ""
    private let start = ContinuousClock.now

    public init() {}

    /// - Parameter share: of the whole calibration, in 0 … 1.
    public mutating func show(_ what: String, _ share: Double) {
        guard terminal.isLive || what != subject else { return }
        subject = what
        let seconds = Int((ContinuousClock.now - start) / .seconds(1))
        let line = "calibrating \(Int(100 * share)) %  \(seconds) s  \(what)"
        if terminal.isLive {
            let padding = String(repeating: " ", count: max(0, 70 - line.count))
            FileHandle.standardError.write(Data("\r\(line)\(padding)".utf8))
        } else {
            reportToStandardError(line)
        }
    }

    /// Leaves the live line.
    public func end() {
        if terminal.isLive { FileHandle.standardError.write(Data("\n".utf8)) }
    }
}
