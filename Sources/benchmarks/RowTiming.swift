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
        /// Time that the bound alone would take in the same round, of the time taken: the middle of the rounds.
        let share: Double
        /// What bounds the kernel here: the bytes that it reads and moves, or its vector instructions.
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

    /// Seconds of an element, and those that what bounds it would take at the speed of the same round.
    fileprivate typealias Sample = (seconds: Double, memory: Double, vectors: Double)

    /// Lets all kernels take turns with what bounds them, after a round that does not count.
    static func measure(
        _ benchmarks: [RowBenchmark], rounds: Int
    ) throws -> (kernels: [RowTiming], bandwidth: Bandwidth) {
        let pool = try RowPool()
        let streamed = try AlignedBuffer<Float>(count: Bandwidth.memoryBytes / 4)
        var samples: [[Bandwidth.Place: [Sample]]] = Array(repeating: [:], count: benchmarks.count)
        var bandwidths: [Bandwidth] = []
        for round in 0...rounds {
            let bandwidth = Bandwidth.measure(in: streamed)
            // A multiply-add is two operations in one instruction.
            let instructionsPerSecond = Ceilings.fp32Now().map { $0 / 2 }
            if round > 0 { bandwidths.append(bandwidth) }
            for (index, benchmark) in benchmarks.enumerated() {
                for place in benchmark.places {
                    let seconds = time(benchmark, place, pool)
                    guard round > 0 else { continue }
                    let vectors = instructionsPerSecond.map { benchmark.instructions / $0 } ?? 0
                    samples[index][place, default: []].append(
                        (seconds, benchmark.traffic.seconds(in: place, bandwidth), vectors))
                }
            }
        }
        let kernels = zip(benchmarks, samples).map { benchmark, samples in
            RowTiming(
                name: benchmark.name, rows: benchmark.rows, columns: benchmark.columns,
                bytesPerElement: benchmark.traffic.bytes, operationsPerElement: benchmark.operations,
                places: benchmark.places.map { Place($0, benchmark.traffic, samples[$0]!) })
        }
        return (kernels, .median(bandwidths))
    }

    /// Calls on the same numbers: in as many, a factor of 0.1 for each stays far from the smallest normal number.
    private static let callsOnSameNumbers = 8

    /// Seconds of an element.
    private static func time(_ benchmark: RowBenchmark, _ place: Bandwidth.Place, _ pool: RowPool) -> Double {
        let shape = RowShape(of: benchmark, bytes: place == .cache ? Bandwidth.cacheBytes : nil)
        var (calls, elapsed) = (0, 0.0)
        var cached: RowOperands?
        while elapsed < 2e-3 {
            if place == .cache, calls % callsOnSameNumbers == 0 { cached = pool.inCache(shape) }
            let operands = cached ?? pool.take(shape)
            let start = ContinuousClock.now
            benchmark.run(operands)
            elapsed += (ContinuousClock.now - start) / .seconds(1)
            calls += 1
        }
        return elapsed / Double(calls * shape.count)
    }
}

extension RowTiming.Place {
    fileprivate init(
        _ place: Bandwidth.Place, _ traffic: RowBenchmark.Traffic, _ samples: [RowTiming.Sample]
    ) {
        func middle(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
        let seconds = samples.map(\.seconds).sorted()
        let (memory, vectors) = (middle(samples.map(\.memory)), middle(samples.map(\.vectors)))
        name = place.rawValue
        nanosecondsPerElement = 1e9 * middle(seconds)
        least = 1e9 * seconds[0]
        most = 1e9 * seconds[seconds.count - 1]
        bytesPerSecond = traffic.moved(in: place) / middle(seconds)
        share = middle(samples.map { max($0.memory, $0.vectors) / $0.seconds })
        bound = memory >= vectors ? .memory : .vectors
    }
}

extension RowBenchmark.Traffic {
    private func fetched(in place: Bandwidth.Place) -> Double { place == .memory ? fetched : 0 }

    fileprivate func moved(in place: Bandwidth.Place) -> Double { bytes + fetched(in: place) }

    /// What an element's bytes take at least.
    fileprivate func seconds(in place: Bandwidth.Place, _ bandwidth: Bandwidth) -> Double {
        max((read + fetched(in: place)) / bandwidth[place].read, moved(in: place) / bandwidth[place].moved)
    }
}
