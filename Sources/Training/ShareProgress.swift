import MessagePassing

/// Says on standard error how far something is that takes long.
public struct ShareProgress {
    private let name: String
    private let done: String
    private let reports: Bool
    private var last = ContinuousClock.now
    private static let interval = Duration.seconds(5)

    /// - Parameters:
    ///   - name: of what is worked on: a file or run.
    ///   - done: what has become of the part that is finished: "encoded".
    public init(_ name: String, done: String, reports: Bool) {
        self.name = name
        self.done = done
        self.reports = reports
    }

    /// - Parameter share: that is done.
    public mutating func note(_ share: Double) {
        guard reports, ContinuousClock.now - last >= Self.interval else { return }
        last = ContinuousClock.now
        reportToStandardError("\(name): \(Int(100 * share)) % \(done)")
    }
}
