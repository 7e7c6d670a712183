import Foundation

/// How long matrix products of one role take on one machine, fitted to a sweep over shapes.
///
/// A blocked product costs its multiply-adds, the packing of both operands and the traffic of C (Goto and van de
/// Geijn 2008), so that t ≈ c₀ + c₁·mnk + c₂·mk + c₃·nk + c₄·mn + c₅·mn·⌈k/384⌉ with coefficients of at least zero. Threads
/// that share a product take as long as the busiest of them, whose part these are the extents of, and c₆ for each other. What
/// that leaves over is taken from the measured neighbours: their log-ratios, weighted by distance in log shape. That holds
/// for operands from memory; what a cache saves depends on how many bytes all three of them have.
public struct ProductModel: Codable, Sendable, Equatable {
    /// Operands that no cache holds.
    public var cold: Fit
    /// Operands that were used a moment ago.
    public var hot: Caching

    /// - Parameters:
    ///   - cold: of one role; at least one, each of positive extents and time.
    ///   - hot: of the same products in the same order.
    public init(cold: [Sample], hot: [Sample]) {
        self.cold = Fit(cold)
        self.hot = Caching(
            samples: zip(cold, hot).map { .init(bytes: $0.bytes, ratio: $1.seconds / $0.seconds) })
    }

    /// Those of `seconds` in which threads hand a product over to each other.
    public func handoverSeconds(_ part: ProductPart, of seconds: Double) -> Double {
        part.isShared ? min(cold.coefficients[6], seconds) : 0
    }

    /// Seconds of one product.
    ///
    /// - Parameters:
    ///   - part: of it.
    ///   - coldness: of A, B and C: 0 for an operand in the cache, 1 for one that comes from memory.
    public func seconds(_ part: ProductPart, coldness: SIMD3<Double>) -> Double {
        let (m, n, k) = (Double(part.product.m), Double(part.product.n), Double(part.product.k))
        let slow = cold.seconds(part)
        // Each operand counts for what it costs to read or write.
        let costs = SIMD3(m * k, n * k, m * n) * cold.operandSeconds
        let share = costs.sum() > 0 ? (costs * coldness).sum() / costs.sum() : coldness.sum() / 3
        let saved = 1 - hot.ratio(bytes: 4 * (m * k + n * k + m * n))
        return slow * (1 - saved * (1 - share))
    }
}

extension ProductModel {
    /// What products whose operands were used a moment ago take, over what they take from memory.
    public struct Caching: Codable, Sendable, Equatable {
        /// One measured product.
        public struct Sample: Codable, Sendable, Equatable {
            /// Of all operands.
            public var bytes: Double
            public var ratio: Double
        }

        public private(set) var samples: [Sample]

        /// At most 1: that of products with about as many bytes.
        func ratio(bytes: Double) -> Double {
            let sizes = samples.map(\.bytes)
            let size = log(max(sizes.min() ?? 1, min(sizes.max() ?? 1, bytes)))
            // In ln(bytes).
            let width = 0.5
            var (sum, weights) = (0.0, 0.0)
            for sample in samples {
                let distance = (size - log(sample.bytes)) / width
                let weight = exp(-distance * distance / 2)
                sum += weight * log(sample.ratio)
                weights += weight
            }
            return weights > 0 ? min(1, exp(sum / weights)) : 1
        }
    }
}

extension ProductModel {
    /// One measured product, with the extents of its largest part.
    public struct Sample: Codable, Sendable, Equatable {
        public var m: Int
        public var n: Int
        public var k: Int
        public var isShared: Bool
        public var seconds: Double
        /// ln(measured / formula).
        var residual = 0.0

        public init(_ part: ProductPart, seconds: Double) {
            (m, n, k) = (part.product.m, part.product.n, part.product.k)
            isShared = part.isShared
            self.seconds = seconds
        }

        enum CodingKeys: String, CodingKey {
            case m, n, k, seconds, residual
            case isShared = "shared"
        }

        fileprivate var bytes: Double {
            let (m, n, k) = (Double(m), Double(n), Double(k))
            return 4 * (m * k + n * k + m * n)
        }
    }

    /// The formula's coefficients, the samples with what it leaves over, and how well both do together.
    public struct Fit: Codable, Sendable, Equatable {
        /// Seconds per call, multiply-add, element of A, of B, of C, and of C per panel of k, and of a shared call.
        public private(set) var coefficients: [Double]
        public private(set) var samples: [Sample]
        /// Median and 90th percentile of |relative error| of samples that are predicted from all others.
        public private(set) var medianError = 0.0
        public private(set) var ninthDecileError = 0.0

        enum CodingKeys: String, CodingKey {
            case coefficients, samples
            case medianError = "median_error"
            case ninthDecileError = "ninth_decile_error"
        }

        /// - Parameter samples: of one role; at least one, each of positive extents and time.
        public init(_ samples: [Sample]) {
            coefficients = NonNegativeLeastSquares.fitRelative(
                samples.map { (Self.features($0.m, $0.n, $0.k, $0.isShared), $0.seconds) })
            self.samples = samples
            for index in samples.indices {
                let sample = samples[index]
                let expected = formula(sample.m, sample.n, sample.k, sample.isShared)
                self.samples[index].residual = log(sample.seconds / expected)
            }
            let errors = self.samples.indices.map { index in
                let sample = self.samples[index]
                return abs(
                    exp(correction(sample.m, sample.n, sample.k, without: index) - sample.residual) - 1)
            }.sorted()
            medianError = errors[errors.count / 2]
            ninthDecileError = errors[errors.count * 9 / 10]
        }

        func seconds(_ part: ProductPart) -> Double {
            let (m, n, k) = (part.product.m, part.product.n, part.product.k)
            return formula(m, n, k, part.isShared) * exp(correction(m, n, k))
        }

        /// The part of its time that goes into multiply-adds, and not into calls, packing and loads.
        func multiplyAddShare(_ part: ProductPart) -> Double {
            let (m, n, k) = (part.product.m, part.product.n, part.product.k)
            let whole = formula(m, n, k, part.isShared)
            return whole > 0 ? coefficients[1] * part.product.flops / 2 / whole : 1
        }

        /// Seconds per element of A, B and C.
        var operandSeconds: SIMD3<Double> {
            SIMD3(coefficients[2], coefficients[3], coefficients[4] + coefficients[5])
        }

        private static func features(_ m: Int, _ n: Int, _ k: Int, _ isShared: Bool) -> [Double] {
            let (m, n, k) = (Double(m), Double(n), Double(k))
            return [1, m * n * k, m * k, n * k, m * n, m * n * (k / 384).rounded(.up), isShared ? 1 : 0]
        }

        private func formula(_ m: Int, _ n: Int, _ k: Int, _ isShared: Bool) -> Double {
            zip(coefficients, Self.features(m, n, k, isShared)).reduce(0) { $0 + $1.0 * $1.1 }
        }

        /// Mean log-ratio of the neighbours, drawn towards 0 where there are none.
        private func correction(_ m: Int, _ n: Int, _ k: Int, without left: Int? = nil) -> Double {
            let (logM, logN, logK) = (log(Double(m)), log(Double(n)), log(Double(k)))
            let (width, prior) = (0.5, 0.3)
            var (sum, weights) = (0.0, prior)
            for (index, sample) in samples.enumerated() where index != left {
                let distance =
                    square(logM - log(Double(sample.m))) + square(logN - log(Double(sample.n)))
                    + square(logK - log(Double(sample.k)))
                let weight = exp(-distance / (2 * width * width))
                sum += weight * sample.residual
                weights += weight
            }
            return sum / weights
        }
    }
}

private func square(_ x: Double) -> Double { x * x }

/// Least squares with coefficients of at least zero (Lawson and Hanson 1974), by cyclic coordinate descent on the normal
/// equations: a few coefficients, converging in microseconds.
public enum NonNegativeLeastSquares {
    /// Minimizes Σ (features·c / target − 1)²: relative errors, so that short times count as much as long ones.
    ///
    /// - Parameters:
    ///   - points: features, all of one length, and a positive target.
    ///   - known: what of each target needs no fit; empty for nothing.
    public static func fitRelative(
        _ points: [(features: [Double], target: Double)], known: [Double] = []
    ) -> [Double] {
        guard let count = points.first?.features.count else { return [] }
        let rows = points.map { point in point.features.map { $0 / point.target } }
        // Columns scaled to length 1, since their units differ by ten orders of magnitude.
        let scales = (0..<count).map { column in
            rows.reduce(0) { $0 + $1[column] * $1[column] }.squareRoot()
        }
        let scaled = rows.map { row in zip(row, scales).map { $1 > 0 ? $0 / $1 : 0 } }
        var normal = [[Double]](repeating: [Double](repeating: 0, count: count), count: count)
        var right = [Double](repeating: 0, count: count)
        for (index, row) in scaled.enumerated() {
            let rest = known.isEmpty ? 1 : 1 - known[index] / points[index].target
            for i in 0..<count {
                right[i] += rest * row[i]
                for j in 0..<count { normal[i][j] += row[i] * row[j] }
            }
        }
        var solution = [Double](repeating: 0, count: count)
        for _ in 0..<20_000 {
            var change = 0.0
            for i in 0..<count where normal[i][i] > 0 {
                let gradient = (0..<count).reduce(-right[i]) { $0 + normal[i][$1] * solution[$1] }
                let next = max(0, solution[i] - gradient / normal[i][i])
                change = max(change, abs(next - solution[i]))
                solution[i] = next
            }
            if change < 1e-9 { break }
        }
        return zip(solution, scales).map { $1 > 0 ? $0 / $1 : 0 }
    }
}
