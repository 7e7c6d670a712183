extension [Double] {
    /// The middle one; at least one must be there.
    package var median: Double {
        let sorted = sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// The number below which `share` of them lie.
    package func quantile(_ share: Double) -> Double { sorted()[Int((Double(count - 1) * share).rounded())] }
}
