import Configs
import Corpus
import Cost
import Foundation
import Kernels
import Ledger
import MessagePassing
import Training

/// Measures what estimates need to know of this machine, with the ranks of `world` at work together and, on one host, with
/// one rank alone and with one rank of as many threads as there are cores. Collective.
///
/// - Parameters:
///   - threads: of every rank.
///   - progress: what is being measured and how far it is, in 0 … 1; called on rank 0.
/// - Returns: the profile, on rank 0; nil on the others.
public func calibrate(
    threads: Int, on world: borrowing Communicator, progress: @escaping (String, Double) -> Void
) throws -> Profile? {
    let calibration = try Calibration(threads: threads, on: world, progress: progress)
    return try calibration.run(on: world)
}

private final class Calibration {
    private let threads: Int
    private let hosts: Int
    private let scratch: ScratchFolder
    private let progress: (String, Double) -> Void
    /// Of the whole calibration, in 0 … 1.
    private var done = 0.0

    init(
        threads: Int, on world: borrowing Communicator, progress: @escaping (String, Double) -> Void
    ) throws {
        self.threads = threads
        hosts = try Topology(.auto, world: world).hosts
        scratch = try ScratchFolder(on: world)
        self.progress = world.rank == 0 ? progress : { _, _ in }
    }

    func run(on world: borrowing Communicator) throws -> Profile? {
        defer { scratch.remove() }
        let packing = try PackingProbe().measure(backend: OpenBLAS())
        let (memory, generation) = try bareRanks(packing, on: world)
        let machine = Profile.Machine.here()
        let pool = try OperandPool()
        var layouts: [Profile.Layout] = []
        let plans = plans(world: world.size, cores: machine.cores)
        let share = (1 - done) / Double(plans.count)
        for plan in plans {
            defer { done += share }
            if plan.threads != threads {
                try world.whileOthersSleep { layouts.append(try measureElsewhere(plan)) }
                continue
            }
            let isActive = world.rank < plan.ranks
            let group = try world.split(color: isActive ? 0 : 1, key: Int32(world.rank))
            if isActive {
                guard let bare = memory[plan] else { preconditionFailure("no bare rank of \(plan)") }
                layouts.append(
                    try measure(
                        plan, machine: machine, bare: bare, generation: generation[plan], pool: pool,
                        share: share, on: group))
            }
            try world.waitQuietly()
        }
        guard world.rank == 0 else { return nil }
        var profile = Profile(
            created: ISO8601DateFormatter().string(from: Date()), machine: machine, layouts: layouts,
            packing: packing)
        profile.notes = layouts.compactMap(Self.note)
        return profile
    }

    /// Says when a layout's figures are too uncertain to rely on.
    private static func note(_ layout: Profile.Layout) -> String? {
        let (spread, scatter) = (layout.reference.productSpread, layout.phases.scatter)
        guard max(spread, scatter) > 0.15 else { return nil }
        let name = "\(layout.hosts * layout.ranksPerHost) × \(layout.threads)"
        guard !layout.reference.isOfTurns else {
            return
                "\(name): ranks took turns on the cores, with each other or with other programs: short products "
                + "differed by \(Int(100 * spread)) %, whole steps by \(Int(100 * scatter)) %, and estimates are of whole "
                + "steps at this load; with fewer ranks than cores and nothing else at work they are surer"
        }
        return "\(name): the machine's speed changed by "
            + "\(Int(100 * spread)) % and whole steps by \(Int(100 * scatter)) % while they were measured, and estimates are "
            + "as uncertain; calibrate again when nothing else runs"
    }

    /// Ranks at work, and threads of each.
    private struct Plan: Hashable {
        var ranks: Int
        var threads: Int
    }

    private func plans(world: Int, cores: Int) -> [Plan] {
        var plans = [Plan(ranks: world, threads: threads)]
        guard hosts == 1, threads == 1 else { return plans }
        for other in [Plan(ranks: 1, threads: 1), Plan(ranks: 1, threads: cores)]
        where !plans.contains(other) {
            plans.append(other)
        }
        return plans
    }

    /// Before other work, since what this process has touched once stays.
    private func bareRanks(
        _ packing: Packing, on world: borrowing Communicator
    ) throws -> (ranks: [Plan: Profile.BareRank], generation: [Plan: Int]) {
        progress("memory of a bare rank", 0)
        var memory: [Plan: Profile.BareRank] = [:]
        var generation: [Plan: Int] = [:]
        let bare = BareRun(folder: scratch.path, threads: threads, packing: packing)
        try world.collectively { if world.rank == 0 { try bare.prepare() } }
        if world.size > 1 {
            memory[Plan(ranks: world.size, threads: threads)] = try bare.measure(hosts: hosts, on: world)
        }
        let cores = Affinity.online
        for plan in plans(world: world.size, cores: cores) where plan.ranks == 1 && plan.threads == threads {
            try world.whileOthersSleep {
                memory[plan] = try bare.measureAlone()
                generation[plan] = try bare.measureGeneration()
            }
        }
        done = 0.05
        return (memory, generation)
    }

    /// Measures in a process of its own, since the threads of the matrix library belong to a process from its start.
    private func measureElsewhere(_ plan: Plan) throws -> Profile.Layout {
        progress("\(plan.ranks) × \(plan.threads) (ranks × threads), in a process of its own", done)
        let file = "\(scratch.path)/threads-\(plan.threads).json"
        try ChildProcess.run(
            ["calibrate", "--threads", "\(plan.threads)", "--out", file], threads: plan.threads)
        return try ProfileFile.read(file).layouts[0]
    }

    private func measure(
        _ plan: Plan, machine: Profile.Machine, bare: Profile.BareRank, generation: Int?, pool: OperandPool,
        share: Double, on ranks: borrowing Communicator
    ) throws -> Profile.Layout {
        let start = ContinuousClock.now
        let backend = OpenBLAS()
        let team = try ThreadTeam(threads: plan.threads)
        let topology = try Topology(.auto, world: ranks)
        let name = "\(plan.ranks) × \(plan.threads) (ranks × threads)"
        func report(_ what: String, from: Double, to: Double) -> (Double) -> Void {
            { [done, progress] part in
                progress("\(name): \(what)", done + share * (from + (to - from) * part))
            }
        }
        let meter = try ReferenceMeter(backend: backend, team: team, topology: topology)
        let reductions = ReductionSweep(pool: pool, meter: meter)
        try reductions.measure(topology, on: ranks)
        for _ in 0..<4 { try meter.sampleTogether() }
        let most = ProductSweep.most(
            at: ReferenceSpeed.mean(of: try meter.speeds(on: ranks)), threads: plan.threads)
        var sweep = ProductSweep(
            matmul: MatMul(backend: backend, team: team), pool: pool, meter: meter, most: most)
        let products = try sweep.measure(
            samples: 70, on: ranks, progress: report("products", from: 0.05, to: 0.5))
        // What typical is was seen while products were timed; all else is to hold at the same speed.
        let reference = ReferenceSpeed.mean(of: try meter.speeds(on: ranks))
        sweep.reference = reference
        try reductions.measure(topology, on: ranks)
        let headProducts = try sweep.measureHeads(on: ranks)
        let tiles = try TileSweep(
            backend: backend, team: team, pool: pool, meter: meter, reference: reference, most: most
        ).measure(on: ranks)
        try reductions.measure(topology, on: ranks)
        let kernels = try RowKernelSweep(pool: pool, team: team, meter: meter, reference: reference).measure(
            on: ranks, progress: report("row kernels", from: 0.55, to: 0.7))
        let bandwidth = try BandwidthSweep(
            pool: pool, privateCache: min(1 << 20, machine.privateCache)
        ).measure(on: ranks)
        var layout = Profile.Layout(
            hosts: hosts,
            ranksPerHost: Placement(ranks: plan.ranks, hosts: hosts, threads: plan.threads).ranksPerHost,
            threads: plan.threads, duration: 0,
            reference: reference, products: products, headProducts: headProducts, kernels: kernels,
            bandwidth: bandwidth, reductions: [], overlap: nil,
            phases: .none, checkpoint: nil, memory: bare)
        layout.tiles = tiles
        if ranks.size > 1 {
            report("reductions", from: 0.7, to: 0.8)(0)
            try reductions.measure(topology, on: ranks)
            // What is typical of exchanges shows in the samples of all rounds.
            layout.reference.exchange = ReferenceSpeed.mean(of: try meter.speeds(on: ranks)).exchange
            layout.reductions = [try reductions.model(topology, at: layout.reference, on: ranks)]
        }
        let probes = ModelProbes(
            corpus: try scratch.corpus(on: ranks), backend: backend, team: team, meter: meter,
            speed: reference)
        (layout.phases, layout.overlap) = try probes.measure(
            layout, machine: machine, topology: topology, on: ranks,
            progress: report("whole steps", from: 0.8, to: 1))
        layout.checkpoint = try scratch.measureCheckpoints(on: ranks)
        if let generation {
            layout.inference = try InferenceProbe(pool: pool, team: team).measure(runtime: generation)
        }
        meter.reset()
        for _ in 0..<8 { try meter.sampleTogether() }
        // A clock that changes meanwhile makes everything measured as uncertain.
        let after = ReferenceSpeed.mean(of: try meter.speeds(on: ranks))
        let change = abs(after.flopsPerSecond / reference.flopsPerSecond - 1)
        layout.reference.productSpread = max(layout.reference.productSpread, change)
        layout.duration = (ContinuousClock.now - start) / .seconds(1)
        return layout
    }
}
