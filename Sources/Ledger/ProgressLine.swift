import Cost
import Foundation

/// Tells how a run goes: one line that is drawn over and over on a terminal, a plain line now and then elsewhere.
public struct ProgressLine: Sendable {
    private let terminal: Terminal
    /// Seconds between two lines.
    private var interval: Double { terminal.isLive ? 0.2 : 10 }

    private var lastShown = -Double.infinity
    private var start: (step: Int, seconds: Double)?
    private var updates = 0
    /// Smoothed seconds of a step.
    private var pace = 0.0
    /// A live line stands where the next output goes.
    private var isDrawn = false

    public init(terminal: Terminal) { self.terminal = terminal }

    /// The bytes to write for a step that ended at `now` (monotonic, in seconds); nil when no line is due. The first and
    /// the last step always have one.
    public mutating func text(for progress: StepProgress, at now: Double) -> String? {
        updates += 1
        // The first step pays for warm caches and connections; it counts until there is another.
        pace = updates <= 2 ? progress.seconds : pace + 0.1 * (progress.seconds - pace)
        if start == nil { start = (progress.step, now) }
        guard now - lastShown >= interval || progress.step >= progress.steps else { return nil }
        lastShown = now
        return drawn(line(for: progress, at: now))
    }

    /// Over the live line; as a line of its own elsewhere.
    private mutating func drawn(_ line: String) -> String {
        guard terminal.isLive else { return line + "\n" }
        isDrawn = true
        return "\r" + line + "\u{1B}[K"
    }

    /// The bytes to write while an evaluation is under way at `now`; nil when no line is due.
    ///
    /// - Parameters:
    ///   - share: that is done, in 0 … 1.
    ///   - seconds: that it has taken.
    public mutating func evaluationText(
        after step: Int, of steps: Int, share: Double, for seconds: Double, at now: Double
    ) -> String? {
        guard now - lastShown >= interval, share > 0, share < 1 else { return nil }
        lastShown = now
        let left = Figure.remaining(seconds * (1 - share) / share)
        let line = "\(stepText(step, of: steps))  evaluating  \(Int(100 * share)) %  \(left) left"
        return drawn(terminal.isLive ? String(line.prefix(max(0, terminal.columns - 1))) : line)
    }

    /// The bytes to write for an evaluation: a line that stays.
    public mutating func text(for evaluation: EvaluationRecord, of steps: Int) -> String {
        var line = stepText(evaluation.step, of: steps) + "  validation loss "
        line += terminal.styled(evaluation.validationLoss.map { Figure.fixed($0, 4) } ?? "nan", .bold)
        if let bits = evaluation.bitsPerByte { line += "  \(Figure.fixed(bits, 3)) bits/byte" }
        if let match = evaluation.exactMatch { line += "  exact match \(Figure.share(match.share))" }
        line += "  \(Quantity.grouped(evaluation.tokens)) tokens"
        if let seconds = evaluation.seconds { line += " in \(Figure.duration(seconds))" }
        defer { isDrawn = false }
        return (isDrawn ? "\r\u{1B}[K" : "") + line + "\n"
    }

    /// The bytes to write before anything else is, and at the end: a live line is left standing.
    public mutating func endText() -> String {
        defer { isDrawn = false }
        return isDrawn ? "\n" : ""
    }

    /// Fields that fit the terminal's width, two blanks apart; a plain line has all of them.
    private func line(for progress: StepProgress, at now: Double) -> String {
        let rate = pace > 0 ? 1 / pace : 0
        // In the order in which they stand; the least important goes first when there is no room.
        var fields: [(importance: Int, text: String)] = [
            (6, stepText(progress.step, of: progress.steps)),
            (5, "loss \(Figure.fixed(progress.loss, 4))"),
            (0, "lr \(String(format: "%.2e", progress.learningRate))"),
            (3, "\(Figure.exact((Double(progress.tokens) * rate).rounded())) tok/s"),
            (2, "\(Figure.significant(Double(progress.matmulFLOPs) * rate / 1e9)) GFLOP/s/rank"),
            (1, Quantity.bytes(progress.residentBytes)),
            (4, "\(Figure.remaining(secondsLeft(progress, at: now))) left"),
        ]
        if terminal.isLive {
            // A character less than the width, as a full line makes some terminals wrap.
            while fields.count > 1, width(fields.map(\.text)) >= terminal.columns {
                let least = fields.indices.min { fields[$0].importance < fields[$1].importance }!
                fields.remove(at: least)
            }
            fields[0].text = String(fields[0].text.prefix(max(0, terminal.columns - 1)))
        }
        return fields.map { field in
            field.importance == 5 ? terminal.styled(field.text, .bold) : field.text
        }.joined(separator: "  ")
    }

    private func width(_ fields: [String]) -> Int {
        fields.reduce(2 * (fields.count - 1)) { $0 + $1.count }
    }

    private func stepText(_ step: Int, of steps: Int) -> String {
        let total = String(steps)
        let done = String(step)
        return "step " + String(repeating: " ", count: max(0, total.count - done.count)) + "\(done)/\(total)"
    }

    /// By the wall clock since the first step, so that evaluations and checkpoints count.
    private func secondsLeft(_ progress: StepProgress, at now: Double) -> Double {
        let left = Double(max(0, progress.steps - progress.step))
        guard let start, progress.step > start.step else { return left * pace }
        return left * (now - start.seconds) / Double(progress.step - start.step)
    }
}

extension ProgressLine {
    /// Writes the line of a step to standard error when one is due.
    public mutating func show(_ progress: StepProgress) {
        if let text = text(for: progress, at: Self.now) { Self.write(text) }
    }

    /// Writes how far an evaluation is to standard error when that is due.
    public mutating func showEvaluation(after step: Int, of steps: Int, share: Double, for seconds: Double) {
        let text = evaluationText(after: step, of: steps, share: share, for: seconds, at: Self.now)
        if let text { Self.write(text) }
    }

    private static var now: Double {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
    }

    /// Writes the line of an evaluation to standard error.
    public mutating func show(_ evaluation: EvaluationRecord, of steps: Int) {
        Self.write(text(for: evaluation, of: steps))
    }

    /// Leaves a live line standing, so that something else may be written to standard error.
    public mutating func end() { Self.write(endText()) }

    /// Standard error that is gone is no reason to stop.
    private static func write(_ text: String) {
        var text = text
        text.withUTF8 { _ = Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
