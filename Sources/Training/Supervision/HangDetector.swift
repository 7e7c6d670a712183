import Cost
import Foundation
import Ledger

/// Judges from the ranks' heartbeats, as one rank has seen them over time, whether they hang and which of them is to
/// blame. Knows no clock, no thread and no file.
package struct HangDetector {
    /// What has been seen of a rank, in seconds of the detector's time.
    private struct Sight {
        var record: HeartbeatRecord?
        /// Since when nothing in it has moved, and since when not even its watchdog has.
        var progressed = 0.0
        var lived = 0.0
    }

    private let rank: Int
    private let timeout: Double
    private var sights: [Sight]
    private var now = 0.0

    /// - Parameter timeout: seconds without progress that make a hang.
    package init(rank: Int, ranks: Int, timeout: Double) {
        self.rank = rank
        self.timeout = timeout
        sights = Array(repeating: Sight(), count: ranks)
    }

    /// Seconds between two looks.
    package var interval: Double { min(1, timeout / 20) }

    /// Whether this rank has been without progress for so long that it is time to look at the others, too.
    package var isSuspicious: Bool { idleSeconds >= timeout / 2 }

    /// Seconds since this rank's last progress.
    package var idleSeconds: Double { now - sights[rank].progressed }

    /// Lets `seconds` pass. A process that was stopped for long has seen nothing of the others meanwhile, so that more
    /// than two intervals do not count.
    package mutating func pass(_ seconds: Double) { now += min(seconds, 2 * interval) }

    /// Takes in what the heartbeat of `other` says; nil when it cannot be read.
    package mutating func see(_ other: Int, _ record: HeartbeatRecord?) {
        let last = sights[other].record
        if record?.sequence != last?.sequence || record?.signs != last?.signs {
            sights[other].progressed = now
        }
        if record?.alive != last?.alive { sights[other].lived = now }
        sights[other].record = record
    }

    /// The hang, once no rank has made progress for long enough; nil before.
    package var hang: Hang? {
        guard idleSeconds >= timeout else { return nil }
        // The others have been looked at since the first suspicion only.
        let patience = timeout / 2 - 3 * interval
        guard sights.allSatisfy({ now - $0.progressed >= patience }) else { return nil }
        let known = sights.indices.filter { sights[$0].record != nil }
        let stopped = known.filter { $0 != rank && now - sights[$0].lived >= patience }
        let sequences = known.compactMap { sights[$0].record?.sequence }
        let behind = known.filter { sights[$0].record?.sequence == sequences.min() }
        let kind: Hang.Kind
        if !stopped.isEmpty {
            kind = .stopped(stopped)
        } else if behind.count < known.count {
            kind = .behind(behind)
        } else {
            kind = .together
        }
        return Hang(
            kind: kind, records: sights.map(\.record), seconds: idleSeconds,
            speaker: known.first { !stopped.contains($0) } ?? rank)
    }
}

/// Ranks that make no progress.
package struct Hang: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// These ranks' processes get no time to run: stopped, frozen, or their host is gone.
        case stopped([Int])
        /// The others wait for these ranks, which run but have not come as far.
        case behind([Int])
        /// All ranks are at the same point.
        case together
    }

    package let kind: Kind
    /// Of every rank; nil where it cannot be read.
    package let records: [HeartbeatRecord?]
    /// How long nothing has moved.
    package let seconds: Double
    /// The rank that says it.
    package let speaker: Int

    /// What hangs, in one paragraph.
    package var description: String {
        let time = String(format: "%.0f", seconds)
        switch kind {
        case .stopped(let ranks):
            return
                "\(describe(ranks)): \(ranks.count == 1 ? "its process does" : "their processes do") not run (stopped, "
                + "frozen, or the host is gone), and the others have waited for \(time) s"
        case .behind(let ranks):
            return "\(describe(ranks)) for \(time) s without progress, while the others wait "
                + "(\(describe(furthest)))"
        case .together:
            return "all ranks have been without progress for \(time) s: \(describe(furthest))"
        }
    }

    /// A line for every rank.
    package var table: [String] {
        records.enumerated().map { rank, record in
            guard let record else { return "rank \(rank): its heartbeat cannot be read" }
            return
                "rank \(rank) on \(record.host), process \(record.process): \(record.activity.name) of step \(record.step), "
                + "activity \(record.sequence), \(Quantity.bytes(record.sentBytes)) sent"
        }
    }

    private var furthest: [Int] {
        let most = records.compactMap { $0?.sequence }.max()
        return records.indices.filter { records[$0]?.sequence == most && most != nil }
    }

    /// "rank 1 on node2 is in backward of step 7"; of many ranks the first.
    private func describe(_ ranks: [Int]) -> String {
        guard let first = ranks.first, let record = records[first] else { return "no rank" }
        let others = ranks.count == 1 ? "" : " and \(ranks.count - 1) more"
        return
            "rank \(first) on \(record.host)\(others) \(ranks.count == 1 ? "is" : "are") in \(record.activity.name) "
            + "of step \(record.step)"
    }
}
