import Configs
import Cost
import Testing

/// Elements of the odd shape, written out from the tensors' shapes; two sequences, 14 tokens.
@Suite struct MemoryTests {
    private let n = 5032

    private func memory(
        ranks: Int = 2, _ change: (inout RunConfig) -> Void = { _ in }
    ) throws -> Estimate.Memory {
        var config = config(globalBatch: 12, microBatch: 2)
        change(&config)
        return try Estimate(config: config, ranks: ranks).memory
    }

    @Test func parametersAndGradientsAreFourBytesEach() throws {
        let memory = try memory()
        #expect(memory.parameters == 4 * n && memory.gradients == 4 * n)
        let untied = try self.memory { $0.model.tieEmbeddings = false }
        #expect(untied.parameters == 4 * (n + 2590) && untied.optimizer == 8 * (n + 2590))
    }

    @Test(arguments: [
        (OptimizerConfig.Name.sgd, 0.0, 0), (.sgd, 0.9, 1), (.rmsprop, 0, 1), (.rmsprop, 0.9, 2),
        (.adagrad, 0, 1),
        (.adam, 0, 2), (.adamw, 0, 2),
    ])
    func optimizersKeepTheirState(name: OptimizerConfig.Name, momentum: Double, tensors: Int) throws {
        let memory = try memory {
            $0.train.optimizer = OptimizerConfig(name: name, learningRate: 1)
            $0.train.optimizer.momentum = momentum
        }
        #expect(memory.optimizer == 4 * n * tensors)
    }

    /// [14, 10] six times, [14, 14] once, four statistics of [14]; then the head's two of [14, 10] and two of [14].
    @Test func activationsAreTheTensorsKept() throws {
        let layer = 6 * 140 + 196 + 4 * 14
        let final = 2 * 140 + 2 * 14
        let logSumExp = 2 * 5 * 7
        #expect(try memory().activations == 4 * (3 * (layer + logSumExp) + final))
        let probabilities = 2 * 5 * 7 * 7
        let stored = try memory { $0.model.attention = .stored }
        #expect(stored.activations == 4 * (3 * (layer + probabilities) + final))
        #expect(try memory { $0.model.dropout = 0.1 }.activations == memory().activations)
        // With norms behind the sums, these, too.
        let post = try memory { $0.model.norm = .post }
        #expect(post.activations == 4 * (3 * (layer + 2 * 140 + logSumExp) + final))
        // Gated, another [14, 14].
        let gated = try memory { $0.model.gated = true }
        #expect(gated.activations == 4 * (3 * (layer + 196 + logSumExp) + final))
    }

    /// In 16 bits but for what norms keep of a row, and the log-sum-exp. In fp32 there are blocks of at most 256 rows of the
    /// widest tensor, and of the head's input.
    @Test func activationsInHalfTheBytes() throws {
        let (layer, statistics) = (6 * 140 + 196, 4 * 14)
        let ends = 2 * (2 * 140) + 4 * (2 * 14)
        let half = try memory { $0.precision.activations = .bf16 }
        #expect(half.activations == 3 * (2 * layer + 4 * (statistics + 2 * 5 * 7)) + ends)
        let stored = try memory { ($0.precision.activations, $0.model.attention) = (.bf16, .stored) }
        #expect(stored.activations == 3 * (2 * (layer + 2 * 5 * 7 * 7) + 4 * statistics) + ends)
        #expect(half.workspace == 4 * (2 * 14 * 30 + 2 * 140 + 70 + 14 * (259 + 10)))
        #expect(half.parameters == 4 * n && half.gradients == 4 * n && half.optimizer == 8 * n)
        // Attention: gradients of [200, 10] and [200, 30] in 16 bits, blocks of [64, 100], [64] and 4·(100 + 64) rows of 2.
        let attention = try memory {
            ($0.precision.activations, $0.model.contextLength, $0.model.vocabSize) = (.bf16, 100, 2)
        }
        let heads = 2 * 64 * 100 + 64 + 4 * (100 + 64) * 2
        #expect(attention.workspace == 4 * (2 * 200 * 30 + 2 * 2000 + 1000 + 200 * (5 + 15) + heads))
    }

    @Test func workspaceIsTheLargestPlace() throws {
        // The head: [14, 259] logits.
        #expect(try memory().workspace == 4 * (3 * 140 + 14 * 259))
        // Without norms before layers there is none of what they give.
        #expect(try memory { $0.model.norm = .post }.workspace == 4 * (2 * 140 + 14 * 259))
        // The MLP: [14, 401] behind the activation, and the gradient before it.
        #expect(try memory { $0.model.dFF = 401 }.workspace == 4 * (3 * 140 + 2 * 14 * 401))
        // Attention: four of [tokens, 10], then [64, 100] for probabilities and their gradient, and [64].
        func attention(
            _ mode: ModelConfig.AttentionMode, dropout: Double, threads: Int = 1
        ) throws -> Int {
            try memory {
                $0.parallel.threadsPerRank = threads
                $0.model.contextLength = 100
                $0.model.vocabSize = 1
                $0.model.attention = mode
                $0.model.dropout = dropout
                $0.train.microBatch = .sequences(1)
            }.workspace
        }
        let shared = 3 * 1000 + 4 * 1000 + 64
        #expect(try attention(.stored, dropout: 0) == 4 * (shared + 6400))
        #expect(try attention(.stored, dropout: 0.1) == 4 * (shared + 12_800))
        #expect(try attention(.recomputed, dropout: 0) == 4 * (shared + 12_800))
        #expect(try attention(.recomputed, dropout: 0.1) == 4 * (shared + 19_200))
        // Every thread has scores and row sums of its own.
        #expect(
            try attention(.recomputed, dropout: 0.1, threads: 3) == 4 * (7000 + 3 * (19_200 + 64)))
    }

    @Test func logitsExistInBlocks() throws {
        let large = try memory {
            $0.model.contextLength = 600
            $0.model.vocabSize = 5000
        }
        #expect(large.workspace == 4 * (3 * 1200 * 10 + ModelConfig.logitsBlockRows * 5000))
    }

    @Test func batchesAndReductionsAreCounted() throws {
        let memory = try memory()
        // Half of the gradients are received before they are added; parameters and gradients fill a huge page.
        #expect(memory.data == 8 * 14 && memory.communication == 16 + 4 * n / 2 + (2 << 20) - 8 * n)
        #expect(memory.peak == nil && memory.runtime == nil)
        let terms = [
            memory.parameters, memory.gradients, memory.optimizer, memory.activations, memory.workspace,
        ]
        #expect(memory.arenas == terms.reduce(0, +) + memory.data + memory.communication)
    }

}

/// N = 5032 in what the ranks exchange: 1677 · 3 + 1 at 3 ranks, 1258 · 4 at 4.
@Suite struct ExchangeTests {
    /// Of the huge page that holds parameters and gradients.
    private let rest = (2 << 20) - 8 * 5032

    private func estimate(
        ranks: Int, hosts: Int = 1, sharded: Bool = false, reduction: ParallelConfig.Reduction = .auto,
        _ change: (inout RunConfig) -> Void = { _ in }
    ) throws -> Estimate {
        var config = config()
        config.parallel.optimizerSharding = sharded
        config.parallel.reduction = reduction
        change(&config)
        return try Estimate(config: config, ranks: ranks, hosts: hosts)
    }

    @Test(arguments: [(1, 0), (2, 2 * 4 * 2516 + 16), (3, 2 * 2 * 4 * 1677 + 24), (4, 2 * 3 * 4 * 1258 + 16)])
    func aRingSendsAllPartsButOneTwice(ranks: Int, bytes: Int) throws {
        #expect(try estimate(ranks: ranks).traffic.bytesPerStep == bytes)
        let sharded = try estimate(ranks: ranks, sharded: true)
        #expect(sharded.traffic.bytesPerStep == (ranks == 1 ? 0 : bytes + 8))
    }

    @Test func shardedStateIsAShareAndTheRemainder() throws {
        #expect(try estimate(ranks: 1, sharded: true).memory.optimizer == 8 * 5032)
        #expect(try estimate(ranks: 2, sharded: true).memory.optimizer == 8 * 2516)
        #expect(try estimate(ranks: 3, sharded: true).memory.optimizer == 8 * (1677 + 1))
        #expect(try estimate(ranks: 3).memory.optimizer == 8 * 5032)
    }

    @Test func aHierarchySendsAsMuchAndReceivesLargerParts() throws {
        let (ring, levels) = try (estimate(ranks: 4), estimate(ranks: 4, hosts: 2))
        #expect(ring.traffic == levels.traffic)
        #expect(ring.memory.communication == 16 + 4 * 1258 + rest)
        #expect(levels.memory.communication == 16 + 4 * 2516 + rest)
        #expect(try estimate(ranks: 4, hosts: 4).memory == ring.memory)
        #expect(try estimate(ranks: 4, hosts: 2, reduction: .ring).memory == ring.memory)
        #expect(try estimate(ranks: 3, hosts: 2).memory.communication == 24 + 4 * 1677 + rest)
        let error = #expect(throws: LockstepError.self) {
            try estimate(ranks: 3, hosts: 2, reduction: .hierarchical)
        }
        #expect(error?.status == .badConfiguration)
    }

    /// Half of what is left is exchanged in each round, the totals whole in each; and partial sums wait at each level of
    /// the tree over a rank's micro-batches.
    @Test func aTreeSendsAsMuchAsARingAndKeepsPartialSums() throws {
        for (ranks, totals, levels) in [(1, 0, 3), (2, 16, 2), (4, 2 * 16, 1)] {
            let tree = try estimate(ranks: ranks) {
                $0.parallel.reproducible = true
                $0.train.globalBatch = 8
                $0.train.microBatch = .auto
            }
            #expect(tree.microBatch == 1)
            #expect(tree.memory.gradients == 4 * 5032 * (1 + levels))
            #expect(tree.traffic.bytesPerStep == 2 * 4 * 5032 / ranks * (ranks - 1) + totals)
            #expect(tree.memory.communication == (ranks == 1 ? 16 : 32 + 4 * 5032 / 2 + rest))
        }
        let odd = try estimate(ranks: 2) {
            $0.parallel.reproducible = true
            $0.train.globalBatch = 10
            $0.train.microBatch = .sequences(1)
        }
        #expect(odd.memory.gradients == 4 * 5032 * (1 + 3))
        #expect(throws: LockstepError.self) { try estimate(ranks: 3) { $0.parallel.reproducible = true } }
    }

    /// GPT-2's 124,439,808 parameters in buckets of 512 KiB a rank but at most 4 MiB, or of 4 MiB, cut to a multiple of
    /// the ranks; four are under way.
    @Test(arguments: [
        (ranks: 3, size: ParallelConfig.BucketSize.auto, part: (3 << 17) / 3), (16, .auto, (1 << 20) / 16),
        (3, .mebibytes(4), (1 << 20) / 3),
    ])
    func scratchIsThatOfTheBucketsUnderWay(
        ranks: Int, size: ParallelConfig.BucketSize, part: Int
    ) throws {
        var config = gpt2(globalBatch: 48)
        config.parallel.bucketMib = size
        // 475 huge pages hold parameters and gradients.
        let rest = 475 * (2 << 20) - 8 * 124_439_808
        #expect(try Estimate(config: config, ranks: ranks).memory.communication == 16 + 4 * 4 * part + rest)
    }
}

@Suite struct MicroBatchTests {
    @Test func explicitMicroBatchesStand() throws {
        #expect(try resolvedMicroBatch(config: config(microBatch: 3), ranks: 2) == 3)
        #expect(throws: LockstepError.self) {
            try resolvedMicroBatch(config: config(microBatch: 4), ranks: 2)
        }
        #expect(throws: LockstepError.self) { try resolvedMicroBatch(config: config(), ranks: 5) }
    }

    @Test func smallModelsTakeTheWholeShare() throws {
        #expect(try resolvedMicroBatch(config: config(), ranks: 1) == 12)
        #expect(try resolvedMicroBatch(config: config(), ranks: 3) == 4)
    }

    @Test func largerModelsTakeFewerSequences() throws {
        #expect(try resolvedMicroBatch(config: w1(), ranks: 2) == 4)
        #expect(try resolvedMicroBatch(config: gpt2(), ranks: 2) == 1)
    }

    /// The choice fits the budget, and the next larger divisor does not.
    @Test(arguments: [60, 64, 97, 360, 1080], [1, 2, 3])
    func theLargestDivisorThatFitsIsTaken(share: Int, threads: Int) throws {
        let model = ModelConfig(
            numLayers: 2, dModel: 96, numHeads: 3, dFF: 200, contextLength: 128, vocabSize: 300)
        func layout(_ microBatch: Int?) -> RunConfig {
            var config = config(model, globalBatch: 2 * share, microBatch: microBatch)
            config.parallel.threadsPerRank = threads
            return config
        }
        func bytes(_ microBatch: Int) throws -> Int {
            let memory = try Estimate(config: layout(microBatch), ranks: 2).memory
            return memory.activations + memory.workspace
        }
        let chosen = try resolvedMicroBatch(config: layout(nil), ranks: 2)
        let divisors = (1...share).filter { share % $0 == 0 }
        let budget = threads * 192 << 20
        #expect(chosen == (try divisors.last { try bytes($0) <= budget } ?? 1))
        #expect(try Estimate(config: layout(nil), ranks: 2).microBatch == chosen)
    }
}
