import Configs
import Cost
import CostTestSupport
import Testing

/// What threads of a rank wait for each other's caches.
@Suite struct HandoverTests {
    private func estimate(threads: Int) throws -> Estimate {
        var config = w1()
        config.model.dModel = 64
        config.model.dFF = 256
        config.train.globalBatch = 8
        config.train.microBatch = .sequences(4)
        config.parallel.threadsPerRank = threads
        let profile = Profile.uniform(layouts: [(1, 1), (1, 2)])
        return try Estimate(config: config, ranks: 1, profile: profile)
    }

    private func handovers(_ estimate: Estimate) throws -> [Double] {
        let limits = try #require(estimate.time.limits)
        return [limits.forward, limits.backward, limits.optimizer].map(\.handovers)
    }

    @Test func oneThreadHandsNothingOver() throws {
        #expect(try handovers(estimate(threads: 1)) == [0, 0, 0])
        #expect(try handovers(estimate(threads: 2)).allSatisfy { $0 > 0 })
    }

    /// Where two cores no longer have a cache in common, a step takes longer by what is handed over, and by nothing else.
    @Test func theyGoWithTheirReference() throws {
        let estimate = try estimate(threads: 2)
        var speed = try #require(estimate.time.limits?.reference)
        let (before, rate) = (try #require(estimate.time.step), try #require(speed.handoverBytesPerSecond))
        speed.handoverBytesPerSecond = rate / 4
        let after = try #require(estimate.atSpeed([speed]).first?.time.step)
        #expect(abs((after - before) / (3 * (try handovers(estimate).reduce(0, +))) - 1) < 1e-9)
        // Not known now: as then.
        speed.handoverBytesPerSecond = nil
        #expect(abs(try #require(estimate.atSpeed([speed]).first?.time.step) / before - 1) < 1e-12)
    }

    /// Each thread writes half of a linear map's input, which the other reads for the weight's gradient; of the embedding a
    /// quarter, whose columns are shared out, but whose rows are read.
    @Test func forwardHandsOverWhatBothThreadsRead() throws {
        let found = try #require(handovers(estimate(threads: 2)).first)
        let (tokens, width, layers) = (4.0 * 256, 64.0, 6.0)
        let inputs = layers * (width + width + width + 4 * width)
        let elements = tokens * (inputs / 2 + width / 4)
        let passes = 2.0
        #expect(abs(found / (passes * 4 * elements / 1e10) - 1) < 1e-9)
    }

    /// For the gradient of a weight, a thread reads all inputs, and its columns of the outputs' gradient; half of both have been
    /// written by the other.
    @Test func gradientsOfWeightsReadWhatOthersHaveWritten() {
        let (rows, outputs, inputs) = (1024, 768, 192)
        let product = Product(.weightGradient, m: outputs, n: inputs, k: rows)
        // Columns of the outputs' gradient are shared out.
        #expect(product.largestPart(among: 2).product.m == outputs / 2)
        #expect(product.readFromOthers(among: 2) == Double(rows / 2 * (outputs / 2 + inputs)))
        #expect(product.writtenForOthers(among: 2) == Double(rows / 2 * outputs / 2))
        // Rows of activations stay where they are, unless columns are shared out.
        #expect(Product(.forward, m: rows, n: outputs, k: inputs).readFromOthers(among: 2) == 0)
        let byColumns = Product(.forward, m: 256, n: 4096, k: inputs)
        #expect(byColumns.readFromOthers(among: 2) == Double(128 * inputs))
        #expect(byColumns.readFromOthers(among: 1) == 0)
    }

    /// What no machine has is estimated all the same.
    @Test func absurdExtentsDoNotOverflow() throws {
        for threads in [2, 4096] {
            let part = Product(.forward, m: 1, n: 1 << 58, k: 1).largestPart(among: threads)
            #expect(part.isShared && part.product.n >= (1 << 58) / threads)
        }
    }
}
