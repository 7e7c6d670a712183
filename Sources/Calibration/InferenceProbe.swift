import Configs
import Cost
import Kernels
import Training
import Transformer

/// Times what generating consists of, and whole passes of small models, by one rank alone.
struct InferenceProbe {
    let pool: OperandPool
    let team: ThreadTeam

    /// - Parameter runtime: of a process that generates, beside its arenas, in bytes.
    func measure(runtime: Int) throws -> InferenceModel {
        let weights = WeightPasses(in: pool.all.slice(0..<WeightPasses.memoryCount), on: team)
        var model = InferenceModel(
            weights: weights.measure(Float.self), roundedWeights: weights.measure(BFloat16.self),
            draftWeights: weights.measure(Int8.self, rows: [1]),
            attention: attention(), secondsPerMultiplyAdd: try promptAttention(), runtime: runtime)
        var passes = try Self.models.flatMap { try self.passes($0) }
        let again = try Self.models.flatMap { try self.passes($0) }
        for index in passes.indices {
            passes[index].seconds = min(passes[index].seconds, again[index].seconds)
        }
        model.steps = .init(passes.filter(\.isStep).map { ($0.pass, $0.seconds) }, model)
        model.prompts = .init(passes.filter { !$0.isStep }.map { ($0.pass, $0.seconds) }, model)
        return model
    }

    /// The shortest of some runs' seconds, behind one that does not count; short runs are repeated in between.
    private func shortest(numbers: Int, _ body: () -> Void) -> Double {
        let repetitions = max(1, (1 << 21) / max(1, numbers))
        body()
        return (0..<3).map { _ in
            seconds { for _ in 0..<repetitions { body() } } / Double(repetitions)
        }.min() ?? 0
    }

    // MARK: Attention

    private static let (headWidth, positions) = (64, 256)

    private func attention() -> [InferenceModel.Sample] {
        let perHead = 2 * Self.headWidth * Self.positions
        return [4, 32, 256, 1024].map { heads -> InferenceModel.Sample in
            let scores = (0..<team.count).map { _ in pool.vector(Self.positions) }
            let queries = pool.matrix(heads, Self.headWidth)
            let mixed = pool.matrix(heads, Self.headWidth)
            let cache = pool.matrix(heads, perHead)
            let time = shortest(numbers: heads * perHead) {
                team.split(heads, (scores, queries, mixed, cache)) { operands, heads, member in
                    let (scores, queries, mixed, cache) = operands
                    for head in heads {
                        let all = cache.rows(head..<head + 1).vector
                        let half = all.count / 2
                        CachedAttention.forward(
                            query: queries.rows(head..<head + 1).vector,
                            keys: all.slice(0..<half).matrix(rows: Self.headWidth, columns: Self.positions),
                            values: all.slice(half..<2 * half).matrix(
                                rows: Self.positions, columns: Self.headWidth),
                            count: Self.positions, scale: 0.01, scores: scores[member],
                            into: mixed.rows(head..<head + 1).vector)
                    }
                }
            }
            return .init(
                rows: 1, bytes: 4 * heads * perHead, secondsPerNumber: time / Double(heads * perHead))
        }
    }

    /// Seconds of a multiply-add of a prompt's attention: a long prompt's time, less that of its products, would be a
    /// difference of large numbers.
    private func promptAttention() throws -> Double {
        let (rows, keys, width) = (128, 256, Self.headWidth)
        let matmul = MatMul(backend: OpenBLAS(), team: team)
        let heads = 8 * team.count
        let scores = (0..<team.count).map { _ in pool.matrix(rows, keys) }
        let (queries, cache) = (pool.matrix(rows, heads * width), pool.matrix(heads, 2 * keys * width))
        let time = shortest(numbers: heads * rows * keys * width) {
            team.split(heads, (matmul, scores, queries, cache)) { operands, heads, member in
                let (matmul, scores, queries, cache) = operands
                for head in heads {
                    let all = cache.rows(head..<head + 1).vector
                    let half = all.count / 2
                    let query = queries.columns(head * width..<(head + 1) * width)
                    let block = scores[member]
                    matmul.members[member].inputGradient(
                        query, weight: all.slice(0..<half).matrix(rows: width, columns: keys), into: block)
                    Reductions.scale(block.vector, by: 1e-3)
                    Softmax.forward(block, visible: .past, logSumExp: nil)
                    matmul.members[member].inputGradient(
                        block, weight: all.slice(half..<2 * half).matrix(rows: keys, columns: width),
                        into: query)
                }
            }
        }
        return time / Double(2 * heads * rows * keys * width)
    }

    // MARK: Whole passes

    /// Of sizes that nobody uses.
    private static let models = [
        (layers: 2, width: 80, heads: 2, vocabulary: 256), (layers: 7, width: 144, heads: 4, vocabulary: 320),
        (layers: 3, width: 432, heads: 6, vocabulary: 512),
        (layers: 1, width: 224, heads: 4, vocabulary: 24_000),
    ]
    private static let (promptTokens, steps) = (24, 24)

    private func passes(
        _ size: (layers: Int, width: Int, heads: Int, vocabulary: Int)
    ) throws -> [(pass: InferencePass, seconds: Double, isStep: Bool)] {
        let config = ModelConfig(
            numLayers: size.layers, dModel: size.width, numHeads: size.heads, dFF: 4 * size.width,
            contextLength: Self.promptTokens + Self.steps, vocabSize: size.vocabulary)
        let network = try LanguageModel(
            config: config, microBatch: 1, purpose: .parameters, backend: OpenBLAS(), team: team)
        network.initialize(seed: 1)
        return try [1, 5].flatMap { sequences in
            let decoder = try CachedDecoder(network, sequences: sequences, capacity: config.contextLength)
            let prompts = (0..<sequences).map { sequence in
                (0..<Self.promptTokens).map { Int32(($0 * 37 + sequence) % size.vocabulary) }
            }
            var (promptTimes, stepTimes) = ([Double](), [Double]())
            for _ in 0..<2 {
                var generator = Generator(
                    decoder: decoder, prompts: prompts, sampling: Sampling(temperature: 0, seed: 1))
                promptTimes.append(seconds { _ = generator.next() })
                for _ in 1..<Self.steps { stepTimes.append(seconds { _ = generator.next() }) }
            }
            // The prompts of so few tokens are one pass.
            let prompt = InferencePass.prompts(
                config, lengths: prompts.map(\.count))[0]
            let step = InferencePass.step(
                config, sequences: sequences, position: Self.promptTokens + Self.steps / 2)
            return [(prompt, promptTimes.min() ?? 0, false), (step, stepTimes.quantile(0.25), true)]
        }
    }
}
