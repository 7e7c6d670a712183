import Configs
import Foundation

extension Profile {
    /// Measured over modelled time of whole steps: what the sum of the parts leaves out (caches shared by the parts,
    /// calls, branches), from models that calibration made up and that no estimate is for.
    public struct PhaseCorrection: Codable, Sendable, Equatable {
        /// One of those models, with what `forward`, `backward` and `optimizer` leave of its own measured over modelled time.
        public struct Probe: Codable, Sendable, Equatable {
            public var width: Int
            /// Bytes that a step touches.
            public var footprint: Int
            public var forward: Double
            public var backward: Double
            public var optimizer: Double

            public init(width: Int, footprint: Int, forward: Double, backward: Double, optimizer: Double) {
                self.width = width
                self.footprint = footprint
                self.forward = forward
                self.backward = backward
                self.optimizer = optimizer
            }
        }

        /// Reductions of one of those models, measured over corrected time.
        public struct Exchange: Codable, Sendable, Equatable {
            /// Of the gradients.
            public var bytes: Int
            /// Bytes that a step touches.
            public var footprint: Int
            public var isSharded: Bool
            public var factor: Double

            public init(bytes: Int, footprint: Int, isSharded: Bool, factor: Double) {
                self.bytes = bytes
                self.footprint = footprint
                self.isSharded = isSharded
                self.factor = factor
            }

            enum CodingKeys: String, CodingKey {
                case bytes, footprint, factor
                case isSharded = "sharded"
            }
        }

        public var forward: Factors
        public var backward: Factors
        public var optimizer: Double
        public var reduction: Double
        /// What ranks wait for slower ones, over forward and backward.
        public var wait: Double
        /// The part of that which is not because some ranks were always slower.
        public var jitter: Double
        /// Spread of the steps' measured over corrected time: 90th percentile of |relative error|.
        public var scatter: Double
        public var probes: [Probe]
        /// What is left of the reductions' errors behind `reduction`.
        public var exchanges: [Exchange] = []

        public init(
            forward: Factors, backward: Factors, optimizer: Double, reduction: Double,
            wait: Double, jitter: Double, scatter: Double, probes: [Probe]
        ) {
            self.forward = forward
            self.backward = backward
            self.optimizer = optimizer
            self.reduction = reduction
            self.wait = wait
            self.jitter = jitter
            self.scatter = scatter
            self.probes = probes
        }

        /// No correction.
        public static let none = PhaseCorrection(
            forward: .init(products: 1, rest: 1), backward: .init(products: 1, rest: 1), optimizer: 1,
            reduction: 1, wait: 0,
            jitter: 0,
            scatter: 0,
            probes: [])

        enum CodingKeys: String, CodingKey {
            case forward, backward, optimizer, reduction, wait, jitter, scatter, probes, exchanges
        }

        /// The phases' corrections for a model: those of all probes, times what they leave of the errors of those like it in
        /// width and footprint.
        public func factors(
            width modelWidth: Int, footprint: Int
        ) -> (forward: Factors, backward: Factors, optimizer: Double) {
            // In octaves; wide enough that several probes count: each one errs by some percent where other users come and go.
            let (width, prior) = (1.5, 0.5)
            var (weights, forwardLog, backwardLog, optimizerLog) = (prior, 0.0, 0.0, 0.0)
            for probe in probes {
                let octaves = SIMD2(
                    log2(Double(modelWidth) / Double(probe.width)),
                    log2(Self.reach(footprint) / Self.reach(probe.footprint)))
                let weight = exp(-(octaves * octaves).sum() / (2 * width * width))
                weights += weight
                forwardLog += weight * log(probe.forward)
                backwardLog += weight * log(probe.backward)
                optimizerLog += weight * log(probe.optimizer)
            }
            return (
                exp(forwardLog / weights) * forward, exp(backwardLog / weights) * backward,
                exp(optimizerLog / weights) * optimizer
            )
        }

        /// Reductions' correction for gradients of `bytes` in steps that touch `footprint`, which decides whether caches still
        /// hold them: the middle one of the probes like it, drawn towards that of all. Single reductions can take several times as long as others, so that a mean would be theirs.
        public func reductionFactor(bytes: Int, footprint: Int, isSharded: Bool) -> Double {
            let widthsInOctaves = SIMD2(1.5, 1)
            var factors = [(factor: 1.0, weight: 0.25)]
            func isApart(_ bytes: Int, _ isSharded: Bool) -> Bool {
                HostExchange(bytes: bytes, isSharded: isSharded).coldShare > 0
            }
            // While caches hold them, it makes no difference whether the update comes between sums and copies.
            for exchange in exchanges
            where isApart(exchange.bytes, exchange.isSharded) == isApart(bytes, isSharded) {
                let distances =
                    SIMD2(
                        log2(Double(max(1, bytes)) / Double(exchange.bytes)),
                        log2(Self.reach(footprint) / Self.reach(exchange.footprint))) / widthsInOctaves
                factors.append((exchange.factor, exp(-(distances * distances).sum() / 2)))
            }
            factors.sort { $0.factor < $1.factor }
            var left = factors.reduce(0) { $0 + $1.weight } / 2
            let middle = factors.first {
                left -= $0.weight
                return left <= 0
            }
            return reduction * (middle?.factor ?? 1)
        }

        /// Beyond the caches, all footprints are alike.
        private static func reach(_ footprint: Int) -> Double {
            Double(max(1 << 20, min(footprint, Coldness.memoryDistance)))
        }
    }
}
