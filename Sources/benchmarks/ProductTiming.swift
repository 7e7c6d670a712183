import Kernels

/// How fast each way to multiply was at one product.
struct ProductTiming: Encodable {
    /// What a way was in each round.
    struct Way: Encodable {
        let name: String
        /// Median over the rounds, in 1e9 flops a second.
        let gigaflops: Double
        /// Speed relative to sgemm's of the same round: median, least and most.
        let ratio: Double
        let leastRatio: Double
        let mostRatio: Double

        enum CodingKeys: String, CodingKey {
            case name, gigaflops, ratio
            case leastRatio = "least_ratio"
            case mostRatio = "most_ratio"
        }
    }

    /// Of every way; weight gradients have no weights to prepack.
    static let sgemm = "sgemm"
    static func converting(_ precision: TilePrecision) -> String { precision.rawValue }
    static func prepackedWeights(_ precision: TilePrecision) -> String {
        "\(precision.rawValue), weights prepacked"
    }
    static func kernelAlone(_ precision: TilePrecision) -> String { "\(precision.rawValue), kernel alone" }

    let product: TrainingProduct
    let ways: [Way]

    /// Lets all ways take turns, after a round that does not count.
    static func measure(
        _ product: TrainingProduct, instructions: TileInstructions, rounds: Int
    ) throws -> ProductTiming {
        let operands = try ProductOperands(product, instructions: instructions)
        let repetitions = max(1, Int(1e9 / product.flops))
        var names: [String] = []
        var seconds: [[Double]] = []
        for round in 0...rounds {
            var way = 0
            operands.forEachWay { name, multiply in
                let start = ContinuousClock.now
                for _ in 0..<repetitions { multiply() }
                let time = (ContinuousClock.now - start) / .seconds(1) / Double(repetitions)
                if round == 0 {
                    names.append(name)
                    seconds.append([])
                } else {
                    seconds[way].append(time)
                }
                way += 1
            }
        }
        let ways = zip(names, seconds).map { name, times in
            let ratios = zip(seconds[0], times).map { $0 / $1 }.sorted()
            return Way(
                name: name, gigaflops: product.flops / times.sorted()[rounds / 2] * 1e-9,
                ratio: ratios[rounds / 2], leastRatio: ratios[0], mostRatio: ratios[rounds - 1])
        }
        return ProductTiming(product: product, ways: ways)
    }
}
