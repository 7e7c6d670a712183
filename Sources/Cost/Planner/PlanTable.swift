import Configs

/// A plan for the eyes.
public struct PlanTable {
    private let plan: Plan
    private let mostRows = 20

    public init(_ plan: Plan) {
        self.plan = plan
    }

    /// - Parameters:
    ///   - all: whether to show every layout that fits.
    ///   - path, overrides: of the configuration, for the line that starts it.
    public func text(all: Bool, path: String, overrides: [String]) -> String {
        let rows = all ? plan.candidates : shown
        var parts = [head]
        if !rows.isEmpty {
            let table = layout([header] + rows.map(row), columns: header.cells.count)
            let hidden = plan.candidates.count - rows.count
            let rest = hidden > 0 ? "\nand \(Quantity.grouped(hidden)) more that fit, with --all" : ""
            parts.append(table + rest)
        }
        if !plan.refused.isEmpty { parts.append(refusals) }
        parts.append(verdict(path: path, overrides: overrides))
        if !plan.notes.isEmpty { parts.append(plan.notes.map { "note: \($0)" }.joined(separator: "\n")) }
        return parts.joined(separator: "\n\n") + "\n"
    }

    private var head: String {
        let (cluster, goal, config) = (plan.cluster, plan.goal, plan.config)
        return """
            \(config.name), \(Quantity.grouped(plan.parameters)) parameters, on \(cluster.name): \
            \(counted(cluster.nodes, "node")) × \(counted(cluster.cores, "core")), \
            \(Quantity.bytes(cluster.availableMemory)) a node, \(Quantity.rate(cluster.network.bandwidth.number)) \
            a link, \(Quantity.duration(cluster.network.latency.number)) a message
            \(Quantity.short(goal.tokens)) tokens in \(Quantity.grouped(goal.steps)) steps of \
            \(Quantity.grouped(config.train.globalBatch)) sequences × \
            \(Quantity.grouped(config.model.contextLength)); a core's speed as on the \
            profile's \(plan.machine.cpu)
            """
    }

    /// The best with each number of nodes, and then the best of each way to share the recommended number.
    private var shown: [PlanCandidate] {
        guard let best = plan.recommended ?? plan.candidates.first else { return [] }
        var kept = [best.layout]
        var (nodes, ways) = (Set([best.layout.nodes]), Set([way(best.layout)]))
        for candidate in plan.candidates
        where kept.count < mostRows / 2 && nodes.insert(candidate.layout.nodes).inserted {
            kept.append(candidate.layout)
        }
        for candidate in plan.candidates
        where kept.count < mostRows && candidate.layout.nodes == best.layout.nodes
            && ways.insert(way(candidate.layout)).inserted
        {
            kept.append(candidate.layout)
        }
        return plan.candidates.filter { kept.contains($0.layout) }
    }

    private func way(_ layout: PlanLayout) -> [Int] { [layout.ranksPerNode, layout.threads] }

    private var header: Row {
        Row(
            "nodes × ranks × threads",
            [
                "micro-batch", "attention", "sharded", "step", "±", "tokens/s", "efficiency", "node",
                "training",
            ]
                + (plan.cluster.watts == nil ? [] : ["energy"])
                + (plan.cluster.pricePerNodeHour == nil ? [] : ["cost"]))
    }

    private func row(_ candidate: PlanCandidate) -> Row {
        let way = candidate.layout
        let mark = way == plan.recommended?.layout ? "> " : "  "
        var cells = [
            "\(way.microBatch)", way.attention.rawValue, way.optimizerSharding ? "yes" : "no",
            Quantity.duration(candidate.stepSeconds), Quantity.percent(candidate.uncertainty),
            Quantity.short(candidate.tokensPerSecond), Quantity.percent(candidate.efficiency),
            Quantity.bytes(candidate.nodeMemory), Quantity.duration(candidate.seconds),
        ]
        if let energy = candidate.kilowattHours { cells.append(Quantity.energy(kilowattHours: energy)) }
        if let price = candidate.price { cells.append(Quantity.amount(price)) }
        return Row("\(mark)\(way.nodes) × \(way.ranksPerNode) × \(way.threads)", cells)
    }

    private var refusals: String {
        let header = Row(
            "too large for a node, by ranks a node", ["layouts", "of", "the closest lacks", "with"])
        let rows = plan.refused.map { group in
            Row(
                "  \(group.ranksPerNode)",
                [
                    Quantity.grouped(group.layouts), Quantity.grouped(group.considered),
                    Quantity.bytes(group.missingBytes),
                    "micro-batch \(group.closest.microBatch), \(group.closest.attention.rawValue)"
                        + (group.closest.optimizerSharding ? ", sharded" : ""),
                ])
        }
        return layout([header] + rows, columns: 4)
    }

    private func verdict(path: String, overrides: [String]) -> String {
        guard let best = plan.recommended else {
            return plan.candidates.isEmpty ? shortage : missedDeadline
        }
        let way = best.layout
        let reason =
            plan.goal.deadline.map { "the cheapest within \(Quantity.duration($0))" } ?? "the fastest"
        let idle = plan.cluster.nodes - way.nodes
        return """
            Recommended, \(reason): \(counted(way.nodes, "node")) × \(counted(way.ranksPerNode, "rank")) × \
            \(counted(way.threads, "thread")), \(Quantity.duration(best.seconds)) ±\(Quantity.percent(best.uncertainty))\
            \(idle > 0 ? "; \(counted(idle, "node")) not used" : "")
              \(plan.launchLine(best, path: path, overrides: overrides))
            """
    }

    private var missedDeadline: String {
        guard let deadline = plan.goal.deadline, let fastest = plan.candidates.first else { return "" }
        let lever =
            fastest.layout.nodes < plan.cluster.nodes
            ? "a larger train.global_batch would use more nodes"
            : "fewer tokens, a smaller model or more nodes"
        return """
            No layout trains within \(Quantity.duration(deadline)): the fastest takes \
            \(Quantity.duration(fastest.seconds)) ±\(Quantity.percent(fastest.uncertainty)), \
            \(Quantity.short(fastest.seconds / deadline)) times as long. What helps: \(lever).
            """
    }

    private var shortage: String {
        let available = plan.cluster.availableMemory
        guard let written = plan.knobs.last else { return "" }
        let before = written.nodeMemory + written.savedBytes
        let rows =
            [
                Row("Nothing fits", ["a node needs", "saved", "against \(Quantity.bytes(available))"]),
                Row("as it is written", memoryCells(before, saved: 0)),
            ]
            + plan.knobs.map { Row("  " + $0.change, memoryCells($0.nodeMemory, saved: $0.savedBytes)) }
        return layout(rows, columns: 3)
    }

    private func memoryCells(_ bytes: Int, saved: Int) -> [String] {
        let missing = bytes - plan.cluster.availableMemory
        return [
            Quantity.bytes(bytes), saved > 0 ? Quantity.bytes(saved) : "-",
            missing > 0 ? "\(Quantity.bytes(missing)) too much" : "fits",
        ]
    }
}

extension Plan {
    /// What a reader of the figures should know.
    public var notes: [String] {
        var notes: [String] = []
        if let best = recommended ?? candidates.first {
            let used = best.layout.ranksPerNode * best.layout.threads
            if used > measuredCores {
                notes.append(
                    "the profile has seen \(measuredCores) cores at work at once, this layout uses \(used) a node, which "
                        + "share its memory's bandwidth; `mpirun -n \(cluster.cores) lockstep calibrate` on a node "
                        + "narrows the uncertainty")
            }
        }
        let most = candidates.map(\.layout.nodes).max() ?? cluster.nodes
        if most < cluster.nodes {
            notes.append(
                "train.global_batch \(config.train.globalBatch) can be divided among at most \(Quantity.grouped(most)) "
                    + "of the \(Quantity.grouped(cluster.nodes)) nodes")
        }
        return notes
    }
}
