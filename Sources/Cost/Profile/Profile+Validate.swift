import Configs

/// More than any machine takes or gives, and so little that nothing computed from them overflows: seconds of anything
/// measured, seconds of a byte, element or call, and FLOPs or bytes a second.
private let durations = 0...1e6
private let unitTimes = 0...1e3
private let rates = 1...1e18

extension Profile {
    /// What makes the profile useless for an estimate, in words that name the key; nil when nothing does.
    public var fault: String? {
        if layouts.isEmpty { return "'layouts' is empty" }
        if !(1...(1 << 20)).contains(machine.cores) { return "'machine.cores' is \(machine.cores)" }
        if machine.privateCache < 1024 { return "'machine.private_cache' is \(machine.privateCache) bytes" }
        if !(1...65_536).contains(packing.blockRows) || !(1...65_536).contains(packing.panelDepth) {
            return "'packing' has blocks of \(packing.blockRows) × \(packing.panelDepth)"
        }
        for (index, layout) in layouts.enumerated() {
            if let fault = layout.fault { return "'layouts[\(index)]\(fault)" }
        }
        return nil
    }
}

extension Profile.Layout {
    fileprivate var fault: String? {
        for (name, count) in [("hosts", hosts), ("ranks_per_host", ranksPerHost), ("threads", threads)]
        where !(1...(1 << 20)).contains(count) {
            return ".\(name)' is \(count)"
        }
        for role in Product.Role.allCases {
            guard let model = products[role.rawValue] else { return ".products' has no '\(role.rawValue)'" }
            guard let head = headProducts[role.rawValue] else {
                return ".head_products' has no '\(role.rawValue)'"
            }
            guard model.isSound, head.isSound else {
                return ".products.\(role.rawValue)' holds a time or extent that is not positive"
            }
        }
        for (name, times) in tiles {
            let precision = excerpt(name)
            for role in Product.Role.allCases {
                guard let model = times.products[role.rawValue], let head = times.headProducts[role.rawValue]
                else { return ".tiles.\(precision)' has no '\(role.rawValue)'" }
                guard model.isSound, head.isSound else {
                    return ".tiles.\(precision).\(role.rawValue)' holds a time or extent that is not positive"
                }
            }
            for (key, seconds) in [
                ("packing_seconds_per_element", times.packingSecondsPerElement),
                ("head_packing_seconds_per_element", times.headPackingSecondsPerElement),
            ] where !(0..<1).contains(seconds) {
                return ".tiles.\(precision).\(key)' is beyond 0 … 1"
            }
        }
        for kernel in RowKernel.allCases {
            guard let model = kernels[kernel.rawValue] else {
                return ".kernels' has no '\(kernel.rawValue)'"
            }
            for fit in [model.hot, model.cold].compactMap({ $0 }) {
                let times = [fit.secondsPerCall, fit.secondsPerRow, fit.secondsPerElement]
                guard times.allSatisfy(unitTimes.contains) else {
                    return ".kernels.\(kernel.rawValue)' holds a time that no machine takes"
                }
            }
        }
        let speeds =
            [reference.flopsPerSecond, reference.kernelElementsPerSecond, reference.copyBytesPerSecond]
            + (reference.exchange?.rates.map(\.rate) ?? [])
            + [reference.handoverBytesPerSecond].compactMap { $0 }
        guard speeds.allSatisfy(rates.contains),
            [reference.productSpread, reference.kernelSpread, reference.copySpread].allSatisfy(
                unitTimes.contains)
        else { return ".reference' is no machine's" }
        guard durations.contains(duration) else { return ".duration' is \(duration)" }
        guard bandwidth.allSatisfy({ $0.bytes > 0 && rates.contains($0.bytesPerSecond) }) else {
            return ".bandwidth' holds a size or rate that is not positive, or no machine's"
        }
        let ofProbes = phases.probes.flatMap { [$0.forward, $0.backward, $0.optimizer] }
        let factors =
            ofProbes + phases.exchanges.map(\.factor)
            + [phases.forward, phases.backward].flatMap { [$0.products, $0.rest] }
            + [phases.optimizer, phases.reduction]
        guard factors.allSatisfy({ $0 > 0.01 && $0 < 100 }) else { return ".phases' is beyond 0.01 … 100" }
        guard phases.probes.allSatisfy({ $0.width > 0 && $0.footprint > 0 }),
            phases.exchanges.allSatisfy({ $0.bytes > 0 && $0.footprint > 0 })
        else {
            return ".phases' has a probe whose width, footprint or bytes are not positive"
        }
        guard (0..<100).contains(phases.wait), (0..<100).contains(phases.jitter),
            (0..<100).contains(phases.scatter)
        else {
            return ".phases' has a share beyond 0 … 100"
        }
        if let checkpoint,
            !durations.contains(checkpoint.seconds) || !unitTimes.contains(checkpoint.secondsPerByte)
        {
            return ".checkpoint' holds a time that no machine takes"
        }
        if let overlap, !(0...100).contains(overlap.progress) || !(0...100).contains(overlap.cost) {
            return ".overlap' is beyond 0 … 100"
        }
        if let inference, !inference.isSound { return ".inference' holds a figure that is no machine's" }
        let memoryTerms = [memory.anonymous, memory.file, memory.shared, memory.coordinator]
        guard memoryTerms.allSatisfy({ (0...(1 << 50)).contains($0) }) else {
            return ".memory' is below zero, or beyond any machine"
        }
        for reduction in reductions {
            guard (2...(1 << 30)).contains(reduction.ranks), (1...(1 << 20)).contains(reduction.hosts) else {
                return ".reductions' is of \(reduction.ranks) ranks on \(reduction.hosts) hosts"
            }
            guard reduction.isSound else { return ".reductions' holds a time or size that is not positive" }
        }
        return nil
    }
}

extension InferenceModel {
    fileprivate var isSound: Bool {
        let corrections = [steps, prompts]
        return [weights, roundedWeights, draftWeights, attention].allSatisfy { samples in
            !samples.isEmpty
                && samples.allSatisfy {
                    $0.rows > 0 && $0.bytes > 0 && $0.secondsPerNumber > 1e-18
                        && unitTimes.contains($0.secondsPerNumber)
                }
        } && unitTimes.contains(secondsPerMultiplyAdd) && (0...(1 << 50)).contains(runtime)
            && corrections.allSatisfy {
                $0.coefficients.count == 3 && $0.coefficients.allSatisfy(unitTimes.contains)
                    && unitTimes.contains($0.scatter)
            }
    }
}

extension ReductionModel {
    fileprivate var isSound: Bool {
        // Nothing is reduced in no time at all.
        unitTimes.contains(latency) && unitTimes.contains(secondsPerByte) && latency + secondsPerByte > 1e-30
            && !samples.isEmpty
            && (samples + coldSamples).allSatisfy {
                $0.bytes > 0 && $0.seconds > 1e-12 && durations.contains($0.seconds)
            }
    }
}

extension ProductModel {
    fileprivate var isSound: Bool {
        cold.isSound && !hot.samples.isEmpty
            && hot.samples.allSatisfy {
                $0.bytes >= 1 && $0.bytes < 1e18 && $0.ratio > 1e-3 && $0.ratio < 1e3
            }
    }
}

extension ProductModel.Fit {
    fileprivate var isSound: Bool {
        coefficients.count == 7 && coefficients.allSatisfy(unitTimes.contains) && !samples.isEmpty
            && unitTimes.contains(medianError)
            && samples.allSatisfy {
                $0.m > 0 && $0.n > 0 && $0.k > 0 && $0.seconds > 0 && abs($0.residual) < 10
            }
    }
}
