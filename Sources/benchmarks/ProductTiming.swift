import Kernels

/// A way to multiply that is timed, by the name that it has in reports.
enum WayToMultiply {
    case sgemm
    case converting(TilePrecision)
    /// Weight gradients have no weights to prepack.
    case prepackedWeights(TilePrecision)
    case kernelAlone(TilePrecision)

    var name: String {
        switch self {
        case .sgemm: "sgemm"
        case .converting(let precision): precision.rawValue
        case .prepackedWeights(let precision): "\(precision.rawValue), weights prepacked"
        case .kernelAlone(let precision): "\(precision.rawValue), kernel alone"
        }
    }

    /// The most flops a second that a product can be done at now; `high` executes three. nil where that is not known.
    fileprivate func peak(fp32: Double?, bf16: Double?) -> Double? {
        switch self {
        case .sgemm: fp32
        case .converting(let precision), .prepackedWeights(let precision), .kernelAlone(let precision):
            bf16.map { precision == .high ? $0 / 3 : $0 }
        }
    }
}

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
        /// Of what the CPU's instructions give from registers in the same round: median. nil where they are emulated.
        let ofPeak: Double?

        enum CodingKeys: String, CodingKey {
            case name, gigaflops, ratio
            case leastRatio = "least_ratio"
            case mostRatio = "most_ratio"
            case ofPeak = "of_peak"
        }
    }

    let product: TrainingProduct
    let ways: [Way]

    subscript(way: WayToMultiply) -> Way? { ways.first { $0.name == way.name } }

    /// What a way took in each round, and the least that the round's peak would have taken.
    fileprivate struct Sample {
        let way: WayToMultiply
        var seconds: [Double] = []
        var leastSeconds: [Double] = []
    }

    /// Lets all ways take turns, after a round that does not count; sgemm alone where there are no `instructions`.
    static func measure(
        _ product: TrainingProduct, instructions: TileInstructions?, rounds: Int
    ) throws -> ProductTiming {
        let operands = try ProductOperands(product, instructions: instructions)
        let repetitions = max(1, Int(1e9 / product.flops))
        var samples: [Sample] = []
        for round in 0...rounds {
            let (fp32, bf16) = (Ceilings.fp32Now(), instructions.flatMap { Ceilings.bf16Now($0) })
            var index = 0
            operands.forEachWay { way, multiply in
                let start = ContinuousClock.now
                for _ in 0..<repetitions { multiply() }
                let seconds = (ContinuousClock.now - start) / .seconds(1) / Double(repetitions)
                if round == 0 {
                    samples.append(Sample(way: way))
                } else {
                    samples[index].seconds.append(seconds)
                    if let peak = way.peak(fp32: fp32, bf16: bf16) {
                        samples[index].leastSeconds.append(product.flops / peak)
                    }
                }
                index += 1
            }
        }
        return ProductTiming(
            product: product,
            ways: samples.map { Way($0, product: product, sgemm: samples[0]) })
    }
}

extension ProductTiming.Way {
    fileprivate init(
        _ sample: ProductTiming.Sample, product: TrainingProduct, sgemm: ProductTiming.Sample
    ) {
        let middle = sample.seconds.count / 2
        let ratios = zip(sgemm.seconds, sample.seconds).map { $0 / $1 }.sorted()
        let shares = zip(sample.leastSeconds, sample.seconds).map { $0 / $1 }.sorted()
        name = sample.way.name
        gigaflops = product.flops / sample.seconds.sorted()[middle] * 1e-9
        (ratio, leastRatio, mostRatio) = (ratios[middle], ratios[0], ratios[ratios.count - 1])
        ofPeak = shares.isEmpty ? nil : shares[middle]
    }
}
