extension Profile.PhaseCorrection {
    /// Measured over modelled time of a phase: of the multiply-adds of its linear maps, of which large models have little
    /// else, and of all that surrounds them.
    public struct Factors: Codable, Sendable, Equatable {
        public var products: Double
        public var rest: Double

        public init(products: Double, rest: Double) {
            self.products = products
            self.rest = rest
        }

        /// Fitted to probes by least squares of relative errors, drawn towards the middle ratio since products make up most
        /// of all of them (ridge regression; Hoerl and Kennard 1970).
        ///
        /// - Parameter probes: products' share of the modelled time, and measured over modelled time; at least one.
        public init(fitting probes: [(share: Double, ratio: Double)]) {
            // Of the weight that a probe of nothing but the one of them has.
            let ridge = 0.3
            let middle = probes.map(\.ratio).median
            var (xx, xy, yy) = (ridge, 0.0, ridge)
            var (x, y) = (ridge * middle, ridge * middle)
            for probe in probes {
                let (a, b) = (probe.share / probe.ratio, (1 - probe.share) / probe.ratio)
                xx += a * a
                xy += a * b
                yy += b * b
                x += a
                y += b
            }
            let determinant = xx * yy - xy * xy
            // Neither is several times what the other is.
            func bounded(_ factor: Double) -> Double { min(2 * middle, max(middle / 2, factor)) }
            products = bounded((x * yy - y * xy) / determinant)
            rest = bounded((y * xx - x * xy) / determinant)
        }

        /// Of work of whose time products are `share`.
        public func mean(share: Double) -> Double { share * products + (1 - share) * rest }

        static func * (factor: Double, factors: Factors) -> Factors {
            Factors(products: factor * factors.products, rest: factor * factors.rest)
        }

        static func * (factors: Factors, seconds: WorkSeconds) -> WorkSeconds {
            WorkSeconds(
                products: factors.products * seconds.products,
                headProducts: factors.rest * seconds.headProducts,
                kernels: factors.rest * seconds.kernels, memory: factors.rest * seconds.memory,
                handovers: factors.rest * seconds.handovers)
        }
    }
}

extension WorkSeconds {
    /// Of the multiply-adds of linear maps' products.
    public var productsShare: Double { total > 0 ? products / total : 0 }
}
