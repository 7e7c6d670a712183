import Cost

/// Finds ranks that compute more slowly than the others, from the seconds of forward and backward of their last steps.
package struct StragglerMonitor {
    /// A rank that has become slow, or has recovered.
    package struct Finding: Sendable, Equatable {
        package let rank: Int
        package let isSlow: Bool
        /// Seconds of forward and backward of a step, of the rank, and of the middle one of the others.
        package let seconds: Double
        package let others: Double
    }

    /// Steps that are looked back on.
    private static let window = 12
    /// The longest of them, which do not count: anything may delay a step or two.
    private static let outliers = 2
    /// Steps that a judgement needs at least, and steps between two of them.
    private static let least = 10
    private static let interval = 5
    /// Times the others' seconds from which a rank is slow, and below which it no longer is.
    private static let slowFrom = 1.5
    private static let recoveredBelow = 1.25

    private let ranks: Int
    /// `[ranks, window]`
    private var seconds: [Double]
    private var steps = 0
    /// Ranks that are slow at present, in order.
    package private(set) var slow: [Int] = []

    package init(ranks: Int) {
        self.ranks = ranks
        seconds = Array(repeating: 0, count: ranks * Self.window)
    }

    /// Takes in a step: `compute` is a rank's seconds of forward and backward. What has changed by it.
    package mutating func add(_ compute: (Int) -> Double) -> [Finding] {
        for rank in 0..<ranks { seconds[rank * Self.window + steps % Self.window] = compute(rank) }
        steps += 1
        guard ranks > 1, steps >= Self.least, steps.isMultiple(of: Self.interval) else { return [] }
        let known = min(steps, Self.window)
        // Not the median: what takes a core away for every other step slows them all.
        let means = (0..<ranks).map { rank in
            let kept = seconds[rank * Self.window..<rank * Self.window + known].sorted()
                .dropLast(Self.outliers)
            return kept.reduce(0, +) / Double(kept.count)
        }
        let sorted = means.sorted()
        let findings = means.enumerated().compactMap { rank, own -> Finding? in
            let others = median(sorted, without: own)
            let wasSlow = slow.contains(rank)
            let isSlow = own >= (wasSlow ? Self.recoveredBelow : Self.slowFrom) * others
            guard isSlow != wasSlow else { return nil }
            return Finding(rank: rank, isSlow: isSlow, seconds: own, others: others)
        }
        for finding in findings {
            if finding.isSlow { slow.append(finding.rank) } else { slow.removeAll { $0 == finding.rank } }
        }
        slow.sort()
        return findings
    }

    private func median(_ sorted: [Double]) -> Double {
        (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
    }

    private func median(_ sorted: [Double], without value: Double) -> Double {
        var rest = sorted
        if let index = rest.firstIndex(of: value) { rest.remove(at: index) }
        return median(rest)
    }
}

extension StragglerMonitor.Finding {
    /// What it means and what to do, for a user.
    func text(host: String) -> String {
        let figures =
            "\(Quantity.duration(seconds)) of forward and backward a step, the others \(Quantity.duration(others))"
        guard isSlow else { return "rank \(rank) on \(host) has caught up again: \(figures)" }
        return
            "rank \(rank) on \(host) takes \(figures), and every rank waits for it. See what else runs there, how its cores "
            + "are bound and clocked; `lockstep doctor` helps"
    }
}
