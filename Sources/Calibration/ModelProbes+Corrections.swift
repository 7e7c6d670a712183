import Cost

/// What is made of the probes' steps.
extension ModelProbes {
    /// The phases of a probe's step, the mean over the ranks.
    struct Phases {
        var forward = 0.0
        var backward = 0.0
        var wait = 0.0
        var reduceOverlapped = 0.0
        var reduce = 0.0
        var optimizer = 0.0
        var reduction: Double { reduceOverlapped + reduce }
        var step: Double { forward + backward + wait + reduction + optimizer }

        static var all: [WritableKeyPath<Phases, Double>] {
            [\.forward, \.backward, \.wait, \.reduceOverlapped, \.reduce, \.optimizer]
        }
    }

    /// What was measured, beside what the sum of products and kernels says of it at the speed that the ranks then had.
    struct Comparison {
        var probe: Probe
        var footprint: Int
        var gradientBytes: Int
        /// What the model says of the reduction at every progress of `Self.progress`.
        var reductions: [Reduction]
        var productsShareOfForward: Double
        var productsShareOfBackward: Double
        var measured: Phases
        var modelled: Phases

        /// Seconds within backward and behind it.
        struct Reduction {
            var overlapped: Double
            var exposed: Double
            var total: Double { overlapped + exposed }
        }

        /// Of all `steps` of a probe: the middle of what each phase took, and of its ratio to what the model says of the same
        /// step, so that a speed that changes from step to step plays no part.
        init(_ steps: [Comparison]) {
            self = steps[0]
            for phase in Phases.all {
                measured[keyPath: phase] = steps.map { $0.measured[keyPath: phase] }.median
                modelled[keyPath: phase] = Self.typical(
                    steps.map { ($0.measured[keyPath: phase], $0.modelled[keyPath: phase]) })
            }
            for index in reductions.indices {
                let total = Self.typical(steps.map { ($0.measured.reduction, $0.reductions[index].total) })
                let overlapped = steps.map { step -> Double in
                    let reduction = step.reductions[index]
                    return reduction.total > 0 ? reduction.overlapped / reduction.total : 0
                }.median
                reductions[index] = Reduction(
                    overlapped: overlapped * total, exposed: (1 - overlapped) * total)
            }
        }

        /// Seconds that the model says of a typical one of `steps`, from the middle ratio of what it says of each.
        private static func typical(_ steps: [(measured: Double, modelled: Double)]) -> Double {
            guard steps.allSatisfy({ $0.measured > 0 && $0.modelled > 0 }) else {
                return steps.map(\.modelled).median
            }
            return steps.map(\.measured).median / steps.map { $0.measured / $0.modelled }.median
        }

        /// From none to twice that of a reduction by itself: a link goes on while ranks take turns on a core, and while
        /// backward waits for its calls of the reduction.
        static let progress = (0...8).map { Double($0) * progressStep }
        private static let progressStep = 0.25

        /// The same when reductions go on within backward as `overlap` says: between those of `Self.progress`, which are of
        /// the modelled backward pass; one that takes longer hides as much more.
        func overlapping(_ overlap: Profile.Overlap) -> Comparison {
            let longer = modelled.backward > 0 ? measured.backward / modelled.backward : 1
            let last = reductions.count - 1
            let position = min(Double(last), overlap.progress * longer / Self.progressStep)
            let index = min(last - 1, Int(position))
            let share = position - Double(index)
            func between(_ part: KeyPath<Reduction, Double>) -> Double {
                (1 - share) * reductions[index][keyPath: part] + share * reductions[index + 1][keyPath: part]
            }
            var result = self
            result.modelled.reduceOverlapped = between(\.overlapped)
            result.modelled.reduce = between(\.exposed)
            return result
        }

        init(
            _ probe: Probe, _ estimate: Estimate, reductions: [Reduction], measured: Phases, modelled: Phases
        ) {
            self.probe = probe
            self.reductions = reductions
            footprint = estimate.memory.arenas
            gradientBytes = estimate.memory.gradients
            productsShareOfForward = estimate.time.limits?.forward.productsShare ?? 0
            productsShareOfBackward = estimate.time.limits?.backward.productsShare ?? 0
            self.measured = measured
            self.modelled = modelled
        }
    }

    /// How fast reductions between hosts go on within backward, and what that costs it: found from all probes together, so that
    /// long ones count for more (least squares of what is left when backward has ended).
    func overlap(_ comparisons: [Comparison]) -> Profile.Overlap {
        func error(_ progress: Double) -> Double {
            comparisons.reduce(0) {
                let left = $1.overlapping(.init(progress: progress, cost: 1)).modelled.reduce
                return $0 + (left - $1.measured.reduce) * (left - $1.measured.reduce)
            }
        }
        let progress = Comparison.progress.min { error($0) < error($1) } ?? 0
        let found = Profile.Overlap(progress: progress, cost: 0)
        let within = comparisons.reduce(0) { $0 + $1.overlapping(found).modelled.reduceOverlapped }
        let spent = comparisons.reduce(0) { $0 + $1.measured.reduceOverlapped }
        return .init(progress: progress, cost: within > 0 ? spent / within : 0)
    }

    func correction(
        _ comparisons: [Comparison], _ reductions: [Comparison], _ overlap: Profile.Overlap?
    ) -> Profile.PhaseCorrection {
        func ratio(_ pair: Comparison, _ phase: KeyPath<Phases, Double>) -> Double {
            let (measured, modelled) = (pair.measured[keyPath: phase], pair.modelled[keyPath: phase])
            return measured > 0 && modelled > 0 ? measured / modelled : 1
        }
        var result = Profile.PhaseCorrection.none
        let forward = comparisons.map { (share: $0.productsShareOfForward, ratio: ratio($0, \.forward)) }
        let backward = comparisons.map { (share: $0.productsShareOfBackward, ratio: ratio($0, \.backward)) }
        result.forward = .init(fitting: forward)
        result.backward = .init(fitting: backward)
        let optimizer = comparisons.map { ratio($0, \.optimizer) }
        result.optimizer = optimizer.median
        result.probes = comparisons.indices.map {
            .init(
                width: comparisons[$0].probe.width, footprint: comparisons[$0].footprint,
                forward: forward[$0].ratio / result.forward.mean(share: forward[$0].share),
                backward: backward[$0].ratio / result.backward.mean(share: backward[$0].share),
                optimizer: optimizer[$0] / result.optimizer)
        }
        let ofReductions = reductions.compactMap { pair in
            let expected = Self.reduction(pair.modelled, overlap)
            return expected > 0 && pair.measured.reduction > 0 ? pair.measured.reduction / expected : nil
        }
        // The middle one, as one that was disturbed can be several times the others.
        if !ofReductions.isEmpty { result.reduction = ofReductions.median }
        func share(_ seconds: (Comparison) -> Double) -> Double {
            comparisons.map { seconds($0) / ($0.measured.forward + $0.measured.backward) }.median
        }
        result.wait = share { $0.measured.wait }
        result.jitter = max(0, share { $0.measured.wait - $0.modelled.wait })
        result.scatter = comparisons.indices.map { scatter(of: $0, comparisons, overlap, result) }.quantile(
            0.9)
        return result
    }

    /// |Relative error| of a probe's step that is predicted from the other probes.
    private func scatter(
        of index: Int, _ comparisons: [Comparison], _ overlap: Profile.Overlap?,
        _ correction: Profile.PhaseCorrection
    ) -> Double {
        var others = correction
        others.probes.remove(at: index)
        let probe = correction.probes[index]
        let (measured, modelled) = (comparisons[index].measured, comparisons[index].modelled)
        let factors = others.factors(width: probe.width, footprint: probe.footprint)
        let compute =
            factors.forward.mean(share: comparisons[index].productsShareOfForward) * modelled.forward
            + factors.backward.mean(share: comparisons[index].productsShareOfBackward) * modelled.backward
        let reduction = correction.reduction * Self.reduction(modelled, overlap)
        let optimizer = factors.optimizer * modelled.optimizer
        let expected = compute * (1 + correction.jitter) + modelled.wait + reduction + optimizer
        return abs(measured.step / expected - 1)
    }

    /// What a reduction costs a step, when what of it falls into backward costs as much as `overlap` says.
    private static func reduction(_ time: Phases, _ overlap: Profile.Overlap?) -> Double {
        time.reduce + time.reduceOverlapped * (overlap?.cost ?? 0)
    }

    /// What `correction` leaves of the errors of some probes' reductions.
    func exchanges(
        _ pairs: [Comparison], isSharded: Bool, _ overlap: Profile.Overlap?,
        _ correction: Profile.PhaseCorrection
    ) -> [Profile.PhaseCorrection.Exchange] {
        pairs.compactMap { pair in
            let measured = pair.measured.reduction
            let modelled = Self.reduction(pair.modelled, overlap)
            let expected = correction.reduction * modelled
            guard measured > 0, modelled > 0, expected > 0 else { return nil }
            return .init(
                bytes: pair.gradientBytes, footprint: pair.footprint, isSharded: isSharded,
                factor: min(4, max(0.25, measured / expected)))
        }
    }
}

extension ModelProbes.Phases {
    /// What estimates of the ranks say.
    init(meanOf times: [Estimate.Time]) {
        for time in times {
            let share = 1 / Double(times.count)
            forward += share * (time.forward ?? 0)
            backward += share * (time.backward ?? 0)
            wait += share * (time.wait ?? 0)
            reduceOverlapped += share * (time.reduceOverlapped ?? 0)
            reduce += share * (time.reduce ?? 0)
            optimizer += share * (time.optimizer ?? 0)
        }
    }
}
