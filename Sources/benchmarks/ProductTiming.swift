import Kernels

/// A way to multiply that is timed, by the name that it has in reports.
enum WayToMultiply {
    case sgemm
    case converting(TileMode)
    /// Weight gradients have no weights to prepack.
    case prepackedWeights(TileMode)
    case kernelAlone(TileMode)

    var name: String {
        switch self {
        case .sgemm: "sgemm"
        case .converting(let mode): mode.precision.rawValue
        case .prepackedWeights(let mode): "\(mode.precision.rawValue), weights prepacked"
        case .kernelAlone(let mode): "\(mode.precision.rawValue), kernel alone"
        }
    }

    /// nil: fp32 BLAS.
    fileprivate var mode: TileMode? {
        switch self {
        case .sgemm: nil
        case .converting(let mode), .prepackedWeights(let mode), .kernelAlone(let mode): mode
        }
    }
}

/// The most flops a second that products can be done at, at some moment; nil where that is not known.
private struct Peaks {
    private let fp32 = Ceilings.fp32Now()
    private let tiles: [(mode: TileMode, peak: Double?)]

    init(_ modes: [TileMode]) {
        tiles = modes.map { mode in
            (mode, Ceilings.tilesNow(mode.instructions).map { $0 / Double(mode.products) })
        }
    }

    subscript(way: WayToMultiply) -> Double? {
        guard let mode = way.mode else { return fp32 }
        return tiles.first { $0.mode == mode }?.peak
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

    /// Lets all ways take turns, after a round that does not count; sgemm alone where there are no `modes`.
    static func measure(
        _ product: TrainingProduct, modes: [TileMode], rounds: Int
    ) throws -> ProductTiming {
        let operands = try ProductOperands(product, modes: modes)
        let repetitions = max(1, Int(1e9 / product.flops))
        var samples: [Sample] = []
        for round in 0...rounds {
            let peaks = Peaks(modes)
            var index = 0
            operands.forEachWay { way, multiply in
                let start = ContinuousClock.now
                for _ in 0..<repetitions { multiply() }
                let seconds = (ContinuousClock.now - start) / .seconds(1) / Double(repetitions)
                if round == 0 {
                    samples.append(Sample(way: way))
                } else {
                    samples[index].seconds.append(seconds)
                    if let peak = peaks[way] { samples[index].leastSeconds.append(product.flops / peak) }
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
