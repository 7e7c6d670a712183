import Foundation

/// A verification for the eyes: a row per term, of its worst rank, or a row per term and rank.
public struct VerificationTable {
    private let verification: Verification
    private let terminal: Terminal

    public init(_ verification: Verification, terminal: Terminal = Terminal(isLive: false)) {
        self.verification = verification
        self.terminal = terminal
    }

    /// The table, notes, and a verdict as the last line; worst ranks first within a term.
    public func text(allRanks: Bool = false) -> String {
        let knowsSpeed = verification.results.contains { $0.estimatedAtSpeed != nil }
        var rows = [Row.header(allRanks: allRanks, atSpeed: knowsSpeed)]
        for results in grouped() {
            let ranked = results.sorted(by: Self.isWorse)
            if allRanks {
                rows += ranked.map { Row($0, ranks: "", atSpeed: knowsSpeed) }
            } else {
                rows.append(Row(ranked[0], ranks: summary(of: results), atSpeed: knowsSpeed))
            }
        }
        let notes = verification.notes.map { "note: \($0)" }
        return (layout(rows) + [""] + notes + [verdict]).joined(separator: "\n") + "\n"
    }

    /// Results by term, in the order in which terms first appear.
    private func grouped() -> [[Verification.Result]] {
        let byTerm = Dictionary(grouping: verification.results, by: \.term)
        var seen: Set<String> = []
        return verification.results.filter { seen.insert($0.term).inserted }.map { byTerm[$0.term]! }
    }

    private static func isWorse(_ a: Verification.Result, _ b: Verification.Result) -> Bool {
        func severity(_ result: Verification.Result) -> (Int, Double, Double) {
            let isMiss = result.within == false
            let error = result.judgedError.map(abs) ?? (isMiss ? .infinity : -1)
            return (isMiss ? 1 : 0, error, result.measured ?? -.infinity)
        }
        let (left, right) = (severity(a), severity(b))
        return left == right ? a.rank < b.rank : left > right
    }

    /// What the other ranks look like.
    private func summary(of results: [Verification.Result]) -> String {
        if results[0].isExactTerm {
            let isMissed = results.contains { $0.within == false }
            let count = results.count { ($0.within == false) == isMissed }
            return "on \(count) of \(counted(results.count, "rank"))"
        }
        guard results.count > 1 else { return "" }
        let errors = results.compactMap(\.judgedError)
        if let lowest = errors.min(), let highest = errors.max() {
            return "\(Figure.percentage(lowest)) … \(Figure.percentage(highest))"
        }
        let measured = results.compactMap(\.measured)
        guard let lowest = measured.min(), let highest = measured.max() else { return "" }
        let unit = results[0].unit
        return "\(Figure.scaled(lowest, unit: unit)) … \(Figure.scaled(highest, unit: unit))"
    }

    /// What missed, or that nothing did, in a few lines.
    public var verdict: String { verdictLines().joined(separator: "\n") }

    private func verdictLines() -> [String] {
        let terms = grouped()
        let exact = terms.filter { $0[0].isExactTerm }
        let failed = terms.filter { $0.contains { $0.within == false } }
        guard failed.isEmpty else {
            let lines = failed.map { results in
                let worst = results.sorted(by: Self.isWorse)[0]
                let ranks = results.filter { $0.within == false }.map { String($0.rank) }
                let names = ranks.prefix(8).joined(separator: ", ") + (ranks.count > 8 ? ", …" : "")
                return
                    "  \(worst.term) on \(ranks.count == 1 ? "rank" : "ranks") \(names): \(worst.complaint)"
            }
            let count = "\(failed.count) of \(counted(terms.count, "term")) "
            let miss = failed.count == 1 ? "misses its tolerance:" : "miss their tolerances:"
            return [terminal.styled(count + miss, .red)] + lines
        }
        let ranks = verification.ranks == 1 ? "the one rank" : "all \(verification.ranks) ranks"
        let steps = counted(verification.steps, "step")
        let summary = terminal.styled(
            "all \(exact.count) exact terms exact on \(ranks), \(steps)", .green)
        let others = terms.filter { !$0[0].isExactTerm && $0.allSatisfy { $0.within == true } }
        guard !others.isEmpty else { return [summary] }
        let within = others.map { results in
            let worst = results.sorted(by: Self.isWorse)[0]
            let error = worst.judgedError.map(Figure.percentage) ?? ""
            let rank = results.count > 1 ? "rank \(worst.rank): \(error)" : error
            return "\(worst.spokenTerm) within \(Figure.tolerance(worst.tolerance ?? 0)) (\(rank))"
        }
        return [summary, terminal.styled(within.joined(separator: "; "), .green)]
    }

    /// Columns as wide as their widest cell: the first and the last two flush left, the others flush right.
    private func layout(_ rows: [Row]) -> [String] {
        let count = rows[0].cells.count
        let widths = (0..<count).map { column in rows.map { $0.cells[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.cells.indices.map { column in
                let cell = row.cells[column]
                let blanks = String(repeating: " ", count: widths[column] - cell.count)
                let isText = column == 0 || column >= count - 2
                let isLast = row.cells[(column + 1)...].allSatisfy(\.isEmpty)
                let padded = isText ? cell + (isLast ? "" : blanks) : blanks + cell
                return row.style.map { terminal.styled(padded, $0) } ?? padded
            }
            var line = cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

/// A line of the table.
private struct Row {
    var cells: [String]
    var style: Terminal.Style?

    static func header(allRanks: Bool, atSpeed: Bool) -> Row {
        Row(
            cells: ["term", "rank", "estimated", "measured", "error"] + (atSpeed ? ["at speed"] : [])
                + ["allowed", "verdict", allRanks ? "" : "all ranks"],
            style: .faint)
    }

    init(cells: [String], style: Terminal.Style?) {
        self.cells = cells
        self.style = style
    }

    init(_ result: Verification.Result, ranks: String, atSpeed: Bool) {
        cells =
            [
                result.term, String(result.rank), result.shown(result.estimated),
                result.shown(result.measured), result.shownError,
            ] + (atSpeed ? [result.relativeErrorAtSpeed.map(Figure.percentage) ?? "-"] : [])
            + [result.shownTolerance, result.shownVerdict, ranks]
        style = result.within == false ? .red : nil
    }
}

extension Verification.Result {
    /// Every step has to meet the estimate exactly.
    fileprivate var isExactTerm: Bool { deviatingSteps != nil && tolerance == 0 }

    /// The term in the words of a sentence.
    fileprivate var spokenTerm: String {
        switch term {
        case "memory.peak": "peak memory"
        case "memory.node": "memory of a host"
        case "time.step": "step time"
        case "time.reduction": "reduction time"
        default: term
        }
    }

    /// All digits where they count: for plain numbers that must be exact, and for whatever missed.
    fileprivate func shown(_ value: Double?) -> String {
        guard let value else { return "-" }
        let needsDigits = isExactTerm && (unit == "1" || within == false)
        guard needsDigits else { return Figure.scaled(value, unit: unit) }
        return Figure.exact(value) + (unit == "B" ? " B" : "")
    }

    fileprivate var shownError: String {
        if isExactTerm, let estimated, let measured {
            let difference = measured - estimated
            return (difference > 0 ? "+" : "") + Figure.exact(difference)
        }
        return relativeError.map(Figure.percentage) ?? (within == false ? "not 0" : "-")
    }

    fileprivate var shownTolerance: String {
        guard let tolerance else { return "-" }
        return tolerance == 0 ? "0" : Figure.tolerance(tolerance)
    }

    fileprivate var shownVerdict: String {
        switch within {
        case nil: "-"
        case true?: isExactTerm ? "exact" : "within"
        case false?: isExactTerm ? "differs" : "misses"
        }
    }

    /// Why it missed.
    fileprivate var complaint: String {
        let atSpeed = relativeErrorAtSpeed.map { ", \(Figure.percentage($0)) at the machine's speed" } ?? ""
        let figures =
            "\(shown(measured)) instead of \(shown(estimated)) (\(shownError)\(atSpeed), allowed \(shownTolerance))"
        guard let deviatingSteps, let firstDeviatingStep else { return figures }
        return figures + ", in \(counted(deviatingSteps, "step")), first in step \(firstDeviatingStep)"
    }
}

private func counted(_ count: Int, _ noun: String) -> String {
    "\(Figure.exact(Double(count))) \(noun)\(count == 1 ? "" : "s")"
}
