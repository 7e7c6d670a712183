/// How long one row kernel takes: per call, per row and per element of the tensor, with the tensor in the cache and without.
public struct RowKernelModel: Codable, Sendable, Equatable {
    /// One measured call over `[rows, columns]`.
    public struct Sample: Codable, Sendable, Equatable {
        public var rows: Int
        public var columns: Int
        public var seconds: Double

        public init(rows: Int, columns: Int, seconds: Double) {
            self.rows = rows
            self.columns = columns
            self.seconds = seconds
        }
    }

    /// Seconds per call, per row and per element.
    public struct Fit: Codable, Sendable, Equatable {
        /// Mostly what threads wait for each other.
        public let secondsPerCall: Double
        public let secondsPerRow: Double
        public let secondsPerElement: Double
        /// Largest |relative error| over the samples.
        public private(set) var largestError = 0.0

        enum CodingKeys: String, CodingKey {
            case secondsPerCall = "seconds_per_call"
            case secondsPerRow = "seconds_per_row"
            case secondsPerElement = "seconds_per_element"
            case largestError = "largest_error"
        }

        /// - Parameters:
        ///   - samples: at least one, each of positive extents and time.
        ///   - secondsPerCall: as known from others; nil to be fitted, too.
        public init(_ samples: [Sample], secondsPerCall known: Double? = nil) {
            let found = NonNegativeLeastSquares.fitRelative(
                samples.map {
                    ([known == nil ? 1 : 0, Double($0.rows), Double($0.rows * $0.columns)], $0.seconds)
                }, known: samples.map { _ in known ?? 0 })
            (secondsPerCall, secondsPerRow, secondsPerElement) = (known ?? found[0], found[1], found[2])
            largestError =
                samples.map { abs(seconds(rows: $0.rows, columns: $0.columns) / $0.seconds - 1) }.max() ?? 0
        }

        public func seconds(rows: Int, columns: Int) -> Double {
            secondsPerCall + Double(rows) * (secondsPerRow + secondsPerElement * Double(columns))
        }
    }

    public var hot: Fit
    /// Nothing of the tensors in a cache; nil for kernels that only ever work in the cache.
    public var cold: Fit?

    public init(hot: Fit, cold: Fit?) {
        self.hot = hot
        self.cold = cold
    }

    /// Seconds of one call over `[rows, columns]`.
    ///
    /// - Parameters:
    ///   - coldness: between 0 (in the cache) and 1 (from memory).
    ///   - isShared: whether threads share it, and hand it over to each other.
    public func seconds(rows: Int, columns: Int, coldness: Double, isShared: Bool) -> WorkSeconds {
        let fast = hot.seconds(rows: rows, columns: columns)
        let slow = cold?.seconds(rows: rows, columns: columns) ?? fast
        let handover = isShared ? hot.secondsPerCall : 0
        return WorkSeconds(
            kernels: fast - handover, memory: max(0, slow - fast) * coldness, handovers: handover)
    }
}
