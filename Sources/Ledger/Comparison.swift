import Cost

/// Collects the samples of a run, term by term and rank by rank, as they come.
struct Comparison {
    /// A term's figures on one rank.
    fileprivate struct Figures {
        /// Of the step farthest from the estimate, or the largest one.
        var value: Double?
        var deviatingSteps = 0
        var firstDeviatingStep: Int?
        /// Step and figure, for a median.
        var series: [(step: Int, value: Double)] = []
    }

    private let terms = VerifiedTerm.all
    private let estimates: [Double?]
    /// By rank, then as `terms`.
    private var figures: [Int: [Figures]] = [:]
    private var samples: [Int: Int] = [:]
    private var firstStep = Int.max
    private var lastStep = 0

    init(with estimate: Estimate) {
        estimates = terms.map { $0.estimated(estimate) }
    }

    /// Number of ranks that have a sample.
    var ranks: Int { figures.count }

    mutating func add(_ sample: StepSample) {
        firstStep = min(firstStep, sample.step)
        lastStep = max(lastStep, sample.step)
        samples[sample.rank, default: 0] += 1
        var row = figures.removeValue(forKey: sample.rank) ?? .init(repeating: Figures(), count: terms.count)
        for (index, term) in terms.enumerated() {
            guard let value = term.measured(sample) else { continue }
            switch term.aggregation {
            case .everyStep: row[index].compare(value, with: estimates[index], at: sample.step)
            case .maximum: row[index].value = max(row[index].value ?? value, value)
            case .medianOfSteadySteps: row[index].series.append((sample.step, value))
            }
        }
        figures[sample.rank] = row
    }

    func verification(_ tolerances: Tolerances) -> Verification {
        let ranks = figures.keys.sorted()
        let results = terms.indices.flatMap { index in
            ranks.map { rank in result(index, rank: rank, tolerances) }
        }
        let steps = figures.isEmpty ? 0 : lastStep - firstStep + 1
        let notes = ranks.compactMap { rank -> String? in
            let count = samples[rank] ?? 0
            return count == steps ? nil : "rank \(rank): the ledger holds \(count) samples of \(steps) steps"
        }
        return Verification(ranks: ranks.count, steps: steps, results: results, notes: notes)
    }

    private func result(_ index: Int, rank: Int, _ tolerances: Tolerances) -> Verification.Result {
        let term = terms[index]
        let figures = figures[rank]![index]
        let isExact = term.aggregation == .everyStep
        return Verification.Result(
            term: term.name, rank: rank, unit: term.unit, estimated: estimates[index],
            measured: term.aggregation == .medianOfSteadySteps
                ? figures.steadyMedian(after: firstStep) : figures.value,
            tolerance: tolerances.tolerance(of: term),
            deviatingSteps: isExact ? figures.deviatingSteps : nil,
            firstDeviatingStep: figures.firstDeviatingStep)
    }
}

extension Comparison.Figures {
    /// Keeps the figure that is farthest from the estimate, and counts those that are not equal to it.
    fileprivate mutating func compare(_ figure: Double, with estimate: Double?, at step: Int) {
        guard let estimate else {
            value = figure
            return
        }
        if figure != estimate {
            deviatingSteps += 1
            firstDeviatingStep = min(firstDeviatingStep ?? step, step)
        }
        if abs(figure - estimate) >= abs((value ?? estimate) - estimate) { value = figure }
    }

    /// The median without the first step, unless there is no other.
    fileprivate func steadyMedian(after firstStep: Int) -> Double? {
        let steady = series.filter { $0.step > firstStep }
        let sorted = (steady.isEmpty ? series : steady).map(\.value).sorted()
        guard !sorted.isEmpty else { return nil }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
