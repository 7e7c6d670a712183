import Kernels

/// How fast a row kernel was, on operands in a core's own cache and from memory.
struct RowTiming: Encodable {
    struct Place: Encodable {
        let name: String
        /// Median over the rounds, least and most.
        let nanosecondsPerElement: Double
        let least: Double
        let most: Double
        let bytesPerSecond: Double
        /// Time that the bound alone would take, of the time taken.
        let share: Double
        /// What bounds the kernel here: the bytes that it moves, or its vector operations.
        let bound: Bound

        enum Bound: String, Encodable { case memory, vectors }

        enum CodingKeys: String, CodingKey {
            case name, least, most, share, bound
            case nanosecondsPerElement = "nanoseconds_per_element"
            case bytesPerSecond = "bytes_per_second"
        }
    }

    let name: String
    let rows: Int
    let columns: Int
    let bytesPerElement: Double
    let operationsPerElement: Double
    let places: [Place]

    enum CodingKeys: String, CodingKey {
        case name, rows, columns, places
        case bytesPerElement = "bytes_per_element"
        case operationsPerElement = "operations_per_element"
    }

    /// Lets all kernels take turns, after a round that does not count.
    static func measure(
        _ benchmarks: [RowBenchmark], bandwidth: Bandwidth, fp32Peak: Double?, rounds: Int
    ) throws -> [RowTiming] {
        let pool = try RowPool()
        var seconds: [[String: [Double]]] = Array(repeating: [:], count: benchmarks.count)
        for round in 0...rounds {
            for (index, benchmark) in benchmarks.enumerated() {
                for place in Bandwidth.Place.allCases where benchmark.places.contains(place) {
                    let time = time(benchmark, place, pool)
                    if round > 0 { seconds[index][place.rawValue, default: []].append(time) }
                }
            }
        }
        return zip(benchmarks, seconds).map { benchmark, times in
            RowTiming(
                name: benchmark.name, rows: benchmark.rows, columns: benchmark.columns,
                bytesPerElement: benchmark.bytes, operationsPerElement: benchmark.operations,
                places: benchmark.places.map { place in
                    Place(
                        place, benchmark, times[place.rawValue]!.sorted(),
                        bytesPerSecond: bandwidth[place], operationsPerSecond: fp32Peak)
                })
        }
    }

    /// Seconds of an element.
    private static func time(_ benchmark: RowBenchmark, _ place: Bandwidth.Place, _ pool: RowPool) -> Double {
        let shape = RowShape(of: benchmark, bytes: place == .cache ? Bandwidth.cacheBytes : nil)
        let same = place == .cache ? pool.inCache(shape) : nil
        if let same { benchmark.run(same) }
        var (calls, elapsed) = (0, 0.0)
        while elapsed < 2e-3 {
            let operands = same ?? pool.take(shape)
            let start = ContinuousClock.now
            benchmark.run(operands)
            elapsed += (ContinuousClock.now - start) / .seconds(1)
            calls += 1
        }
        return elapsed / Double(calls * shape.count)
    }
}

extension RowTiming.Place {
    /// - Parameter operationsPerSecond: nil where it is not known, and bytes are taken for the bound.
    fileprivate init(
        _ place: Bandwidth.Place, _ benchmark: RowBenchmark, _ seconds: [Double], bytesPerSecond: Double,
        operationsPerSecond: Double?
    ) {
        let median = seconds[seconds.count / 2]
        let bytes = benchmark.bytes + (place == .memory ? benchmark.fetched : 0)
        let memory = bytes / bytesPerSecond
        let vectors = operationsPerSecond.map { benchmark.operations / $0 } ?? 0
        name = place.rawValue
        nanosecondsPerElement = 1e9 * median
        least = 1e9 * seconds[0]
        most = 1e9 * seconds[seconds.count - 1]
        self.bytesPerSecond = bytes / median
        share = max(memory, vectors) / median
        bound = memory >= vectors ? .memory : .vectors
    }
}
