import Configs
import Cost
import CostTestSupport
import Foundation
import Testing

private func cluster(
    nodes: Int = 8, cores: Int = 8, memory: String = "64GiB", bandwidth: String = "10gbit", more: String = ""
) throws -> ClusterConfig {
    try ClusterConfig.parse(
        """
        name: lab
        nodes: \(nodes)
        cores: \(cores)
        memory: \(memory)
        network: {bandwidth: \(bandwidth), latency: 20us}
        \(more)
        """, source: "lab.yaml")
}

private let profile = Profile.example(cores: 8, layouts: [(1, 1), (8, 1), (1, 8)])

private func plan(
    _ config: RunConfig = w1(globalBatch: 64), on cluster: ClusterConfig, tokens: Double? = nil,
    deadline: Double? = nil
) throws -> Plan {
    try Plan(
        config, on: cluster, PlanGoal(config, tokens: tokens, deadline: deadline), profile: profile)
}

@Suite struct PlanTests {
    @Test func moreNodesAreNeverSlower() throws {
        var last = Double.infinity
        for nodes in [1, 2, 3, 4, 6, 8, 16, 32, 64] {
            let step = try #require(try plan(on: cluster(nodes: nodes)).recommended).stepSeconds
            #expect(step <= last)
            last = step
        }
        #expect(try last < #require(try plan(on: cluster(nodes: 1)).recommended).stepSeconds / 4)
    }

    @Test func everyLayoutIsOneThatCanRun() throws {
        let config = w1(globalBatch: 48)
        let (nodes, cores) = (5, 12)
        let candidates = try plan(config, on: cluster(nodes: nodes, cores: cores)).candidates
        #expect(candidates.count > 100)
        for candidate in candidates {
            let way = candidate.layout
            #expect(way.nodes <= nodes && way.ranksPerNode * way.threads <= cores)
            try way.applied(to: config).validate(ranks: way.ranks)
            #expect(candidate.efficiency > 0 && candidate.efficiency < 1.01)
        }
        #expect(Set(candidates.map(\.layout.attention)).count == 2)
        #expect(Set(candidates.map(\.layout.nodes)) == [1, 2, 3, 4])
    }

    /// On one node the network plays no part, so that a plan says what an estimate says.
    @Test func memoryAndTimeAreTheEstimates() throws {
        let config = w1(globalBatch: 64)
        for nodes in [1, 4] {
            let candidates = try plan(config, on: cluster(nodes: nodes)).candidates
            for candidate in candidates where candidate.layout.nodes == nodes {
                let way = candidate.layout
                let estimate = try Estimate(
                    config: way.applied(to: config), ranks: way.ranks, hosts: nodes, profile: profile)
                #expect(estimate.memory.node == candidate.nodeMemory)
                #expect(estimate.memory.peak == candidate.rankMemory)
                guard nodes == 1, !way.optimizerSharding else { continue }
                #expect(abs(estimate.time.step! / candidate.stepSeconds - 1) < 1e-3)
            }
        }
    }

    @Test func memoryDecidesWhatFits() throws {
        let config = w1(globalBatch: 64)
        let roomy = try plan(config, on: cluster(nodes: 1))
        let border = try #require(roomy.candidates.map(\.nodeMemory).sorted().dropFirst(20).first)
        let tight = try plan(config, on: cluster(nodes: 1, memory: "\(border)B"))
        #expect(tight.candidates.map(\.nodeMemory).max() == border)
        let refused = roomy.candidates.filter { $0.nodeMemory > border }
        #expect(tight.candidates.count + refused.count == roomy.candidates.count)
        #expect(tight.refused.reduce(0) { $0 + $1.layouts } == refused.count)
        for group in tight.refused {
            let all = refused.filter { $0.layout.ranksPerNode == group.ranksPerNode }
            #expect(group.layouts == all.count)
            #expect(group.missingBytes == all.map { $0.nodeMemory - border }.min())
        }
    }

    @Test func whatCannotFitSaysWhatHelps() throws {
        var config = gpt2(globalBatch: 64)
        config.model.attention = .stored
        config.model.numLayers = 48
        let plan = try plan(config, on: cluster(memory: "2GiB"))
        #expect(plan.recommended == nil && plan.candidates.isEmpty)
        let changes = plan.knobs.map(\.change)
        #expect(
            changes.contains("model.attention=recomputed") && changes.contains("train.optimizer.name=sgd"))
        #expect(changes.last == "all of these")
        let saved = plan.knobs.dropLast().map(\.savedBytes)
        #expect(saved == saved.sorted(by: >) && saved.allSatisfy { $0 > 0 })
        #expect(try #require(plan.knobs.last).savedBytes >= saved[0])
        #expect(Set(plan.knobs.map { $0.nodeMemory + $0.savedBytes }).count == 1)
        let text = PlanTable(plan).text(all: false, path: "a.yaml", overrides: [])
        #expect(text.contains("Nothing fits") && text.contains("too much") && !text.contains("mpirun -n"))
    }

    @Test func aDeadlineTakesTheCheapestThatMakesIt() throws {
        let priced = try cluster(nodes: 8, more: "price_per_node_hour: 2\nwatts: 500")
        let fastest = try #require(try plan(on: priced).recommended)
        let later = try plan(on: priced, deadline: 4 * fastest.seconds)
        let chosen = try #require(later.recommended)
        let inTime = later.candidates.filter { $0.seconds <= 4 * fastest.seconds }
        #expect(chosen.price == inTime.compactMap(\.price).min())
        #expect(try #require(chosen.price) < #require(fastest.price))
        let hours = Double(chosen.layout.nodes) * chosen.seconds / 3600
        #expect(abs(chosen.price! / (2 * hours) - 1) < 1e-9)
        #expect(abs(chosen.kilowattHours! / (0.5 * hours) - 1) < 1e-9)
        let never = try plan(on: priced, deadline: fastest.seconds / 2)
        #expect(never.recommended == nil && !never.candidates.isEmpty && never.knobs.isEmpty)
    }

    @Test func tokensAreWholeSteps() throws {
        let config = w1(globalBatch: 64)
        #expect(PlanGoal(config, tokens: nil, deadline: nil).steps == 10)
        let goal = PlanGoal(config, tokens: 1e6, deadline: nil)
        #expect(goal.steps == 62 && goal.tokens == 62 * 64 * 256)
    }

    @Test func slowNetworksCost() throws {
        let fast = try #require(try plan(on: cluster(bandwidth: "100gbit")).recommended)
        let slow = try #require(try plan(on: cluster(bandwidth: "10mbit")).recommended)
        #expect(fast.layout.nodes == 8 && slow.layout.nodes == 1)
        #expect(fast.stepSeconds < slow.stepSeconds)
    }

    /// Two nodes of one rank: each sends and receives the gradients once (half of them twice).
    @Test func theLinkCarriesTheGradients() throws {
        var config = w1(globalBatch: 2)
        config.parallel.overlap = false
        let gradients = Double(4 * (try Estimate(config: config, ranks: 2).parameters))
        let pair = try plan(config, on: cluster(nodes: 2, bandwidth: "1gbit")).candidates
        let two = try #require(pair.first { $0.layout.nodes == 2 && $0.layout.ranksPerNode == 1 })
        let bucketBytes = two.layout.applied(to: config).parallel.bucketBytes(ranks: 2)
        let buckets = (gradients / Double(bucketBytes)).rounded(.up)
        let expected = gradients / 125e6 + buckets * 2 * 20e-6
        #expect(abs(two.reductionSeconds / expected - 1) < 1e-6)
    }

    @Test func thousandsOfNodesAreSomeThousandsOfLayouts() throws {
        let plan = try plan(gpt2(globalBatch: 32_768), on: cluster(nodes: 4096, cores: 64, memory: "256GiB"))
        #expect(plan.recommended?.layout.nodes == 4096)
        // Each takes some twenty microseconds; a plan shall take less than a second.
        #expect(plan.candidates.count + plan.refused.reduce(0) { $0 + $1.layouts } < 25_000)
    }

    @Test func theLargestModelIsTheLargest() throws {
        let config = w1(globalBatch: 64)
        let lab = try cluster(nodes: 4, memory: "16GiB")
        let own = try #require(try plan(config, on: lab).recommended).seconds
        func largest(_ deadline: Double) throws -> Plan? {
            try Plan.largest(
                like: config, on: lab, PlanGoal(config, tokens: nil, deadline: deadline), profile: profile)
        }
        let found = try #require(try largest(20 * own))
        let model = found.config.model
        #expect(found.parameters > 10_844_160 && model.dModel == 64 * model.numHeads)
        #expect(model.dFF == 4 * model.dModel && abs(model.numLayers - model.numHeads) <= 1)
        #expect(try #require(found.recommended).seconds <= 20 * own)
        #expect(try #require(found.recommended).nodeMemory <= 16 << 30)
        var next = found.config
        next.model.numHeads += 1
        next.model.dModel += 64
        next.model.numLayers += 1
        next.model.dFF += 256
        #expect(try plan(next, on: lab, deadline: 20 * own).recommended == nil)
        #expect(try largest(1e-6) == nil)
    }

    @Test func linesStartWhatWasPlanned() throws {
        var config = w1(globalBatch: 64)
        config.parallel.threadsPerRank = 3
        let plain = try plan(config, on: cluster(), tokens: 1e6)
        let best = try #require(plain.recommended)
        let way = best.layout
        let given = ["train.global_batch=64", "parallel.threads_per_rank=3", "data.path=a b"]
        let line = plain.launchLine(best, path: "configs/w1.yaml", overrides: given)
        #expect(line.hasPrefix("mpirun -n \(way.ranks) --hostfile hosts --map-by "))
        #expect(line.contains(" ppr:\(way.ranksPerNode):node:PE=\(way.threads) --bind-to core "))
        #expect(line.contains(" configs/w1.yaml train.global_batch=64 'data.path=a b' "))
        #expect(line.contains("parallel.threads_per_rank=\(way.threads)") && !line.contains("rank=3"))
        #expect(line.hasSuffix(" train.steps=62"))
        config.train.schedule.warmupSteps = 10
        let short = try plan(config, on: cluster(), tokens: 1e5)
        #expect(
            short.launchLine(best, path: "a.yaml", overrides: []).hasSuffix(
                " train.steps=7 train.schedule.warmup_steps=7"))
        let slurm = try plan(config, on: cluster(more: "launcher: slurm"))
        let batch = slurm.launchLine(best, path: "configs/w1.yaml", overrides: [])
        #expect(batch.hasPrefix("sbatch --nodes \(way.nodes) --ntasks-per-node \(way.ranksPerNode) "))
        #expect(batch.contains(" --cpus-per-task \(way.threads) launch/slurm configs/w1.yaml"))
        #expect(!batch.contains("threads_per_rank"))
    }

    @Test func tablesAreShortAndAligned() throws {
        let plan = try plan(on: cluster(nodes: 64, more: "watts: 300\nprice_per_node_hour: 1"))
        let text = PlanTable(plan).text(all: false, path: "a.yaml", overrides: [])
        let lines = text.split(separator: "\n")
        let table = lines.drop { !$0.hasPrefix("nodes × ") }.prefix { !$0.hasPrefix("and ") }
        #expect((5...21).contains(table.count))
        #expect(Set(table.map(\.count)).count == 1)
        #expect(table.count { $0.hasPrefix("> ") } == 1)
        let everything = PlanTable(plan).text(all: true, path: "a.yaml", overrides: [])
        #expect(everything.split(separator: "\n").count > plan.candidates.count)
    }

    @Test func jsonHasAllOfIt() throws {
        let plan = try plan(on: cluster(nodes: 2))
        let text = try plan.json(path: "a.yaml", overrides: [])
        let json = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(json["schema_version"] as? Int == 1)
        #expect((json["candidates"] as? [Any])?.count == plan.candidates.count)
        #expect((json["recommended"] as? [String: Any])?["step_seconds"] as? Double != nil)
        #expect((json["command"] as? String)?.hasPrefix("mpirun") == true)
    }

    @Test func aProfileOfOneRankIsNotEnough() throws {
        let alone = Profile.example(layouts: [(1, 1)])
        let config = w1()
        let error = try #require(
            #expect(throws: LockstepError.self) {
                try Plan(
                    config, on: cluster(), PlanGoal(config, tokens: nil, deadline: nil), profile: alone)
            })
        #expect(error.status == .inputMissing && error.description.contains("mpirun -n 2 lockstep calibrate"))
    }
}
