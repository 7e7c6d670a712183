import Foundation

/// Meters where the time of a training step goes, on the monotonic clock; allocates nothing.
///
/// One phase runs at a time: `begin`, then `enter` as often as the step changes its phase (a step of several
/// micro-batches enters `forward` and `backward` once each), then `finish`.
public struct PhaseClock: ~Copyable {
    public enum Phase: Int, Sendable, CaseIterable {
        case data, forward, backward, reduceOverlapped, wait, reduceExposed, optimizer
    }

    private var nanoseconds: InlineArray<7, UInt64> = .init(repeating: 0)
    private var running: Phase?
    private var stepStart: UInt64
    private var phaseStart: UInt64
    /// Told of every phase.
    private let heartbeat: Heartbeat?

    public init() { self.init(nil) }

    /// A clock that tells `heartbeat` of the phases it meters.
    package init(_ heartbeat: Heartbeat?) {
        self.heartbeat = heartbeat
        stepStart = Self.now()
        phaseStart = stepStart
    }

    /// Starts a step: all phases at zero, none of them running.
    public mutating func begin() {
        nanoseconds = .init(repeating: 0)
        running = nil
        stepStart = Self.now()
        phaseStart = stepStart
    }

    /// Ends the running phase and starts `phase`, or none.
    public mutating func enter(_ phase: Phase?) {
        let now = Self.now()
        if let running { nanoseconds[running.rawValue] += now - phaseStart }
        running = phase
        phaseStart = now
        if let heartbeat, let phase { heartbeat.enter(phase.activity) }
    }

    /// Ends the running phase and leaves the time that `body` takes out of the step.
    package mutating func leaveOut(_ body: () throws -> Void) rethrows {
        enter(nil)
        defer { stepStart += Self.now() - phaseStart }
        try body()
    }

    /// Ends the step. `total` counts from `begin`, so it also holds what lay outside of every phase.
    public mutating func finish() -> StepSample.Seconds {
        enter(nil)
        return StepSample.Seconds(
            data: seconds(.data), forward: seconds(.forward), backward: seconds(.backward),
            reduceOverlapped: seconds(.reduceOverlapped), wait: seconds(.wait),
            reduceExposed: seconds(.reduceExposed), optimizer: seconds(.optimizer),
            total: Double(phaseStart - stepStart) / 1e9)
    }

    private func seconds(_ phase: Phase) -> Double { Double(nanoseconds[phase.rawValue]) / 1e9 }

    /// Nanoseconds of the monotonic clock, from an arbitrary origin.
    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension PhaseClock.Phase {
    fileprivate var activity: Heartbeat.Activity {
        switch self {
        case .data: .data
        case .forward: .forward
        case .backward: .backward
        case .reduceOverlapped: .reduceOverlapped
        case .wait: .wait
        case .reduceExposed: .reduceExposed
        case .optimizer: .optimizer
        }
    }
}
