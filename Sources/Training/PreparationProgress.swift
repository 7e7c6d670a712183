import MessagePassing

/// Says on standard error how far a long text is encoded.
public struct PreparationProgress {
    private let path: String
    private let reports: Bool
    private var last = ContinuousClock.now
    private static let interval = Duration.seconds(5)

    public init(_ path: String, reports: Bool) {
        self.path = path
        self.reports = reports
    }

    /// - Parameter share: of the text that is done.
    public mutating func note(_ share: Double) {
        guard reports, ContinuousClock.now - last >= Self.interval else { return }
        last = ContinuousClock.now
        reportToStandardError("\(path): \(Int(100 * share)) % encoded")
    }
}
