import Foundation

/// How fast one process generates on a machine, with a cache of keys and values.
///
/// A pass of r rows takes Σ weights·w(r, B) + attention + a·L + b·r·L·(h + f) + c·n·V: w is what a number of a weight takes
/// when r rows are multiplied by it and B bytes are read over and over; a, b and c are those with which whole passes of small
/// models come out right.
public struct InferenceModel: Codable, Sendable, Equatable {
    /// A measured pass over the same numbers, again and again.
    public struct Sample: Codable, Sendable, Equatable {
        public var rows: Int
        /// Bytes that are gone over.
        public var bytes: Int
        /// Of a weight's number, or of a number among keys and values.
        public var secondsPerNumber: Double

        public init(rows: Int, bytes: Int, secondsPerNumber: Double) {
            self.rows = rows
            self.bytes = bytes
            self.secondsPerNumber = secondsPerNumber
        }

        enum CodingKeys: String, CodingKey {
            case rows, bytes
            case secondsPerNumber = "seconds_per_number"
        }
    }

    /// What the sum of products and attention leaves out.
    public struct Correction: Codable, Sendable, Equatable {
        /// Seconds of a layer, of an element of a row's stream and hidden layer in each layer, and of a logit.
        public internal(set) var coefficients: [Double]
        /// Largest |relative error| of a pass that they were fitted to.
        public internal(set) var scatter: Double

        /// - Parameter passes: at least one, each with its positive seconds.
        public init(_ passes: [(pass: InferencePass, seconds: Double)], _ model: InferenceModel) {
            let known = passes.map { model.productSeconds($0.pass) }
            coefficients = NonNegativeLeastSquares.fitRelative(
                passes.map { ($0.pass.features, $0.seconds) }, known: known)
            scatter = 0
            for (known, measured) in zip(known, passes) {
                scatter = max(scatter, abs((known + seconds(measured.pass)) / measured.seconds - 1))
            }
        }

        init(coefficients: [Double], scatter: Double) {
            self.coefficients = coefficients
            self.scatter = scatter
        }

        fileprivate func seconds(_ pass: InferencePass) -> Double {
            zip(coefficients, pass.features).reduce(0) { $0 + $1.0 * $1.1 }
        }
    }

    /// Numbers in fp32, in bf16, in 8 bits, and attention of a row to what is cached for it.
    public var weights: [Sample]
    public var roundedWeights: [Sample]
    public var draftWeights: [Sample]
    public var attention: [Sample]
    /// Seconds of a multiply-add within the heads of a prompt, with its share of the softmax.
    public var secondsPerMultiplyAdd: Double
    public var steps = Correction(coefficients: [0, 0, 0], scatter: 0)
    public var prompts = Correction(coefficients: [0, 0, 0], scatter: 0)
    /// Peak memory of a process that generates beside its arenas, in bytes.
    public var runtime: Int

    public init(
        weights: [Sample], roundedWeights: [Sample], draftWeights: [Sample], attention: [Sample],
        secondsPerMultiplyAdd: Double, runtime: Int
    ) {
        self.weights = weights
        self.roundedWeights = roundedWeights
        self.draftWeights = draftWeights
        self.attention = attention
        self.secondsPerMultiplyAdd = secondsPerMultiplyAdd
        self.runtime = runtime
    }

    enum CodingKeys: String, CodingKey {
        case weights, attention, steps, prompts, runtime
        case roundedWeights = "rounded_weights"
        case draftWeights = "draft_weights"
        case secondsPerMultiplyAdd = "seconds_per_multiply_add"
    }

    /// Seconds of a pass.
    func seconds(_ pass: InferencePass) -> Double {
        productSeconds(pass) + (pass.isStep ? steps : prompts).seconds(pass)
    }

    /// The measured pass that is most like the products of `pass`.
    func reference(_ pass: InferencePass) -> Sample? {
        func distance(_ sample: Sample) -> Double {
            abs(log(Double(sample.rows) / Double(max(1, pass.rows))))
                + abs(log(Double(sample.bytes) / max(1, pass.footprint)))
        }
        return samples(pass.format).min { distance($0) < distance($1) }
    }

    private func samples(_ format: WeightFormat) -> [Sample] {
        switch format {
        case .fp32: weights
        case .bf16: roundedWeights
        case .int8: draftWeights
        }
    }

    /// Of products and attention.
    fileprivate func productSeconds(_ pass: InferencePass) -> Double {
        let weights = samples(pass.format)
        let products =
            pass.layerWeights * Self.perNumber(weights, rows: pass.rows, bytes: pass.footprint)
            + pass.headWeights * Self.perNumber(weights, rows: pass.headRows, bytes: pass.footprint)
        let perNumber = Self.perNumber(attention, rows: 1, bytes: pass.footprint)
        return products + pass.attended * (pass.isStep ? perNumber : secondsPerMultiplyAdd)
            + pass.attendedOfSources * perNumber
    }

    /// Between the samples by logarithms; beyond them as at the last one, more rows in proportion.
    private static func perNumber(_ samples: [Sample], rows: Int, bytes: Double) -> Double {
        let counts = Set(samples.map(\.rows)).sorted()
        let seconds = counts.map { count in
            let ofCount = samples.filter { $0.rows == count }.sorted { $0.bytes < $1.bytes }
            return interpolate(
                ofCount.map { (log(Double($0.bytes)), log($0.secondsPerNumber)) }, at: log(max(1, bytes)))
        }
        let points = zip(counts.map { log(Double($0)) }, seconds).map { ($0, $1) }
        let excess = max(1, Double(rows) / Double(counts.last ?? 1))
        return excess * exp(interpolate(points, at: log(Double(max(1, rows)))))
    }

    private static func interpolate(_ points: [(x: Double, y: Double)], at x: Double) -> Double {
        guard let first = points.first, let last = points.last else { return -.infinity }
        if x <= first.x { return first.y }
        guard let next = points.firstIndex(where: { $0.x >= x }) else { return last.y }
        let (low, high) = (points[next - 1], points[next])
        return low.y + (high.y - low.y) * (x - low.x) / (high.x - low.x)
    }
}

extension InferencePass {
    /// What the coefficients of a correction multiply.
    fileprivate var features: [Double] { [layers, rowElements, logits] }
}
