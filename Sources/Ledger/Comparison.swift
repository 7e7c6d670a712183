import Cost

/// Collects the samples of a run, term by term and rank by rank, as they come.
struct Comparison {
    /// A term's figures on one rank.
    fileprivate struct Figures {
        /// Of the step farthest from the estimate, or the largest one.
        var value: Double?
        var deviatingSteps = 0
        var firstDeviatingStep: Int?
        /// Of every step, for a median.
        var series: [(step: Int, value: Double)] = []
        /// By step, what the estimate comes to at the speeds that the ranks had in it.
        var atSpeed: [Int: Double] = [:]
    }

    private let terms = VerifiedTerm.all
    private let estimate: Estimate
    /// By rank, the estimate at the speeds that the ranks had; empty when they are not known.
    private let estimatesAtSpeed: [Estimate]
    private let measurements: RunMeasurements
    /// By rank, then as `terms`.
    private var figures: [Int: [Figures]] = [:]
    private var samples: [Int: Int] = [:]
    /// Of the step whose samples are coming, by rank.
    private var current: [Int: StepSample] = [:]
    /// Of all steps but the first.
    private var speeds = StepSpeeds()
    private var firstStep = Int.max
    private var lastStep = 0

    init(with estimate: Estimate, _ measurements: RunMeasurements) {
        self.estimate = estimate
        self.measurements = measurements
        estimatesAtSpeed = estimate.atSpeed(measurements.speed?.ranks ?? [])
    }

    /// Number of ranks that have a sample.
    var ranks: Int { Set(figures.keys).union(current.keys).count }

    /// Samples of a step follow one another.
    mutating func add(_ sample: StepSample) {
        if current[sample.rank] != nil || current.values.first.map({ $0.step != sample.step }) == true {
            takeCurrent()
        }
        current[sample.rank] = sample
    }

    private mutating func takeCurrent() {
        let step = current.keys.sorted().compactMap { current[$0] }
        for sample in step { take(sample) }
        let speeds = step.compactMap { $0.speed.map(ReferenceSpeed.init) }
        if speeds.count == estimate.ranks, let number = step.first?.step, number > firstStep {
            let expected = estimate.atSpeed(speeds).map(\.time)
            self.speeds.add(number, speeds, compute: zip(step, expected).map(StepSpeeds.compute))
        }
        current.removeAll(keepingCapacity: true)
    }

    private mutating func take(_ sample: StepSample) {
        firstStep = min(firstStep, sample.step)
        lastStep = max(lastStep, sample.step)
        samples[sample.rank, default: 0] += 1
        var row = figures.removeValue(forKey: sample.rank) ?? .init(repeating: Figures(), count: terms.count)
        for (index, term) in terms.enumerated() {
            switch term.measure {
            case .everyStep(let figure):
                guard let value = figure(sample, estimate) else { continue }
                row[index].compare(value, with: term.estimated(estimate, sample.rank), at: sample.step)
            case .maximum(let figure):
                guard let value = figure(sample, estimate) else { continue }
                row[index].value = max(row[index].value ?? value, value)
            case .medianOfSteadySteps(let figure), .meanOfSteadySteps(let figure):
                guard let value = figure(sample, estimate) else { continue }
                row[index].series.append((sample.step, value))
            case .wholeRun: break
            }
        }
        figures[sample.rank] = row
    }

    /// Sets what every step took beside the estimate at its speed.
    private mutating func compareAtSpeed() {
        speeds.forEach { step, speeds in
            for (rank, atSpeed) in estimate.atSpeed(speeds).enumerated() {
                for (index, term) in terms.enumerated() where figures[rank]?[index].series.isEmpty == false {
                    figures[rank]?[index].atSpeed[step] = term.estimated(atSpeed, rank)
                }
            }
        }
    }

    mutating func verification(_ tolerances: Tolerances) -> Verification {
        takeCurrent()
        compareAtSpeed()
        let ranks = figures.keys.sorted()
        let results = terms.indices.flatMap { index -> [Verification.Result] in
            if case .wholeRun(let figure) = terms[index].measure {
                return [result(terms[index], rank: 0, measured: figure(measurements), tolerances)]
            }
            if case .meanOfSteadySteps = terms[index].measure {
                let own = ranks.compactMap { figures[$0]?[index] }
                let measured = mean(own.compactMap { $0.steadyMedian(after: firstStep) })
                let ratio = mean(own.compactMap { $0.steadyRatio(after: firstStep) })
                return ranks.map {
                    result(terms[index], rank: $0, measured: measured, ratio: ratio, tolerances)
                }
            }
            return ranks.map { result(terms[index], rank: $0, figures[$0]![index], tolerances) }
        }
        let steps = figures.isEmpty ? 0 : lastStep - firstStep + 1
        let notes = ranks.compactMap { rank -> String? in
            let count = samples[rank] ?? 0
            return count == steps ? nil : "rank \(rank): the ledger holds \(count) samples of \(steps) steps"
        }
        return Verification(
            ranks: ranks.count, steps: steps, results: results, notes: notes + driftNotes)
    }

    /// Nil of none.
    private func mean(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    private func result(
        _ term: VerifiedTerm, rank: Int, _ figures: Figures, _ tolerances: Tolerances
    ) -> Verification.Result {
        switch term.measure {
        case .everyStep:
            var result = result(term, rank: rank, measured: figures.value, tolerances)
            result.deviatingSteps = figures.deviatingSteps
            result.firstDeviatingStep = figures.firstDeviatingStep
            return result
        case .medianOfSteadySteps, .meanOfSteadySteps:
            return result(
                term, rank: rank, measured: figures.steadyMedian(after: firstStep),
                ratio: figures.steadyRatio(after: firstStep), tolerances)
        case .maximum, .wholeRun:
            return result(term, rank: rank, measured: figures.value, tolerances)
        }
    }

    /// - Parameter ratio: of measured to estimated time, step by step at the speed of each; nil when it is not known.
    private func result(
        _ term: VerifiedTerm, rank: Int, measured: Double?, ratio: Double? = nil, _ tolerances: Tolerances
    ) -> Verification.Result {
        let estimated = term.estimated(estimate, rank)
        var atSpeed =
            term.unit == "s" && estimatesAtSpeed.indices.contains(rank)
            ? term.estimated(estimatesAtSpeed[rank], rank) : nil
        if let ratio, let measured, ratio > 0 { atSpeed = measured / ratio }
        // Nothing can be said of a clock's resolution.
        let isJudged = !(term.unit == "s" && estimated == 0)
        return Verification.Result(
            term: term.name, rank: rank, unit: term.unit, estimated: estimated, measured: measured,
            estimatedAtSpeed: atSpeed, tolerance: isJudged ? tolerances.tolerance(of: term) : nil)
    }

    /// How far the machine has drifted from its calibration; none when that is not known.
    private var driftNotes: [String] {
        guard let speeds = measurements.speed?.ranks, let calibrated = estimate.time.limits?.reference else {
            return []
        }
        guard !calibrated.isOfTurns else {
            return ["speed since calibration: cannot be told, since ranks took turns on the cores then"]
        }
        let drifts = speeds.map { ReferenceDrift(of: $0, from: calibrated) }
        func drift(_ name: String, _ path: KeyPath<ReferenceDrift, Double>) -> String {
            let ratios = drifts.map { $0[keyPath: path] }
            guard let slowest = ratios.min(), let fastest = ratios.max() else { return name }
            let low = Figure.percentage(slowest - 1)
            return slowest == fastest
                ? "\(name) \(low)" : "\(name) \(low.dropLast(2)) … \(Figure.percentage(fastest - 1))"
        }
        var own =
            "speed since calibration: \(drift("products", \.products)), \(drift("kernels", \.kernels)), "
            + drift("copy", \.copies)
        if ([calibrated] + speeds).allSatisfy({ $0.handoverBytesPerSecond != nil }) {
            own += ", \(drift("handovers between threads", \.handovers))"
        }
        let isKnown = ([calibrated] + speeds).allSatisfy { $0.exchange != nil }
        guard isKnown, !drifts.isEmpty else { return [own] }
        // All ranks take part in each.
        func exchange(_ path: KeyPath<ReferenceDrift, Double>) -> String {
            Figure.percentage(drifts.reduce(0) { $0 + $1[keyPath: path] } / Double(drifts.count) - 1)
        }
        return [
            own,
            "exchanges between ranks since calibration: \(exchange(\.cachedExchanges)) from caches, "
                + "\(exchange(\.gradientExchanges)) of gradients, \(exchange(\.shardExchanges)) of shards",
        ]
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
        median(steady(after: firstStep).map(\.value))
    }

    /// The median of what the same steps took over what the estimate came to at the speed of each, so that a speed that
    /// changes from step to step is not held against the estimate; nil when there are steps without one.
    fileprivate func steadyRatio(after firstStep: Int) -> Double? {
        let steps = steady(after: firstStep)
        let ratios = steps.compactMap { step in
            atSpeed[step.step].flatMap { $0 > 0 ? step.value / $0 : nil }
        }
        return ratios.count == steps.count ? median(ratios) : nil
    }

    private func steady(after firstStep: Int) -> [(step: Int, value: Double)] {
        let steady = series.filter { $0.step > firstStep }
        return steady.isEmpty ? series : steady
    }
}

extension ReferenceSpeed {
    /// That of one step.
    package init(_ speed: StepSample.Speed) {
        self.init(
            flopsPerSecond: speed.flopsPerSecond, kernelElementsPerSecond: speed.kernelElementsPerSecond,
            copyBytesPerSecond: speed.copyBytesPerSecond,
            exchange: speed.exchange, handoverBytesPerSecond: speed.handoverBytesPerSecond)
    }
}
