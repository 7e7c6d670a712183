import Configs
import Foundation

/// The last micro-batch's backward pass as the reduction sees it: when which gradients are complete.
struct BackwardTimeline {
    /// When each call of `ready` comes, in seconds from the start of backward, and from which parameter on gradients
    /// are then complete.
    let calls: [(seconds: Double, firstParameter: Int)]
    /// When backward ends.
    var end: Double { calls.last?.seconds ?? 0 }

    /// - Parameter parts: of a step; half of the rest is taken for the final norm's, half for the embeddings'.
    init(_ parts: PhaseSeconds, parameters: ParameterCount) {
        var now = parts.head.total + parts.rest.total / 2
        var firstParameter = parameters.total - parameters.head
        var calls: [(seconds: Double, firstParameter: Int)] = []
        for (index, stack) in parameters.stacks.enumerated().reversed() {
            let isLast = index == parameters.stacks.count - 1
            let layer = (isLast ? parts.layer : parts.encoderLayer).total
            firstParameter -= stack.behind
            calls.append((now, firstParameter))
            for _ in 0..<stack.layers {
                now += layer
                firstParameter -= stack.block
                calls.append((now, firstParameter))
            }
            firstParameter -= stack.front
        }
        calls.append((now + parts.rest.total / 2, 0))
        self.calls = calls
    }
}

extension Profile {
    /// What was measured with the layout most like `placement`.
    func layout(nearest placement: Placement) -> Layout? {
        layouts.min { distance($0, placement) < distance($1, placement) }
    }

    private func distance(_ layout: Layout, _ placement: Placement) -> Double {
        abs(log2(Double(layout.threads) / Double(placement.threads)))
            + abs(log2(Double(layout.ranksPerHost) / Double(placement.ranksPerHost)))
            + 0.1 * abs(log2(Double(layout.hosts) / Double(placement.hosts)))
    }

    /// What the reduction of all gradients costs a step: within backward, and behind it.
    ///
    /// - Parameter network: between the hosts; nil takes what was measured between hosts.
    /// - Returns: nil when no reduction like it was measured.
    func reduction(
        _ config: RunConfig, _ placement: Placement, network: ClusterConfig.Network?, parameters: Int,
        during timeline: BackwardTimeline
    ) -> (overlapped: Double, exposed: Double)? {
        guard placement.ranks > 1, parameters > 0 else { return (0, 0) }
        let exchange = HostExchange(bytes: 4 * parameters, isSharded: config.parallel.optimizerSharding)
        guard
            let total = reductionSeconds(
                config, placement, network: network, bytes: exchange.bytes, coldShare: exchange.coldShare)
        else { return nil }
        guard placement.hosts > 1, config.parallel.overlap, !config.parallel.reproducible else {
            return (0, total)
        }
        // A sharded optimizer sends half before the update and half, the parameters, behind it.
        let reduced = config.parallel.optimizerSharding ? total / 2 : total
        // Of models beyond all measure several at a time, which makes no difference to so many.
        let bucket = max(config.parallel.bucketBytes(ranks: placement.ranks) / 4, parameters >> 20)
        // Buckets count from the end of the arena; each waits for its gradients, then for the one before it.
        let overlap = overlap(of: placement)
        var busyUntil = 0.0
        var hidden = 0.0
        var upper = parameters
        var call = 0
        while upper > 0 {
            let lower = max(0, upper - bucket)
            while timeline.calls[call].firstParameter > lower { call += 1 }
            let start = max(busyUntil, timeline.calls[call].seconds)
            let seconds = reduced * Double(upper - lower) / Double(parameters)
            let within = min(seconds, overlap.progress * max(0, timeline.end - start))
            hidden += within
            // What backward has no time for goes on at full speed behind it.
            busyUntil =
                within < seconds
                ? max(start, timeline.end) + seconds - within
                : start + (seconds > 0 ? seconds / overlap.progress : 0)
            upper = lower
        }
        return (overlap.cost * hidden, total - hidden)
    }

    /// Seconds to sum `bytes` over all ranks, one bucket after the other; nil when no reduction like it was measured.
    ///
    /// - Parameter coldShare: how much of it comes from memory twice.
    private func reductionSeconds(
        _ config: RunConfig, _ placement: Placement, network: ClusterConfig.Network?, bytes: Int,
        coldShare: Double
    ) -> Double? {
        let bucketBytes = config.parallel.bucketBytes(ranks: placement.ranks)
        if let network, placement.hosts > 1 {
            let cost = hierarchicalCost(placement, network: network)
            let buckets = (Double(bytes) / Double(bucketBytes)).rounded(.up)
            return buckets * cost.latency + Double(bytes) * cost.secondsPerByte
        }
        let known = layouts.flatMap(\.reductions).filter { ($0.hosts > 1) == (placement.hosts > 1) }
        if let same = known.first(where: { $0.ranks == placement.ranks && $0.hosts == placement.hosts }) {
            return same.seconds(bytes: bytes, coldShare: coldShare, bucketBytes: bucketBytes)
        }
        let nearest = known.min { abs($0.ranks - placement.ranks) < abs($1.ranks - placement.ranks) }
        return nearest?.line(bytes: bytes, ranks: placement.ranks, bucketBytes: bucketBytes)
    }

    /// Seconds that the messages of a bucket take without their transfer, and the transfer of a byte, on `network`: rings
    /// within a host (reduce-scatter and allgather), and between them a ring for each local rank's part, all of which
    /// share the host's link (Patarasuk and Yuan 2009, on two levels).
    func hierarchicalCost(
        _ placement: Placement, network: ClusterConfig.Network
    ) -> (latency: Double, secondsPerByte: Double) {
        let (local, hosts) = (Double(placement.ranksPerHost), Double(placement.hosts))
        let measured = layouts.flatMap(\.reductions).filter { $0.hosts == 1 }
            .min { abs($0.ranks - placement.ranksPerHost) < abs($1.ranks - placement.ranksPerHost) }
        let within = 2 * (local - 1) * (measured?.latency ?? 0)
        let across = 2 * (hosts - 1) * network.latency.number
        return (
            within + across,
            2 * (local - 1) / local * (measured?.secondsPerByte ?? 0)
                + 2 * (hosts - 1) / hosts / network.bandwidth.number
        )
    }

    /// How reductions between hosts go on within backward: not at all where that was not measured.
    private func overlap(of placement: Placement) -> Overlap {
        let measured = layouts.filter { $0.overlap != nil }
        return (measured.first { $0.ranksPerHost == placement.ranksPerHost } ?? measured.first)?.overlap
            ?? Overlap(progress: 0, cost: 0)
    }
}
