import Configs
import Cost
import CostTestSupport
import Testing

@Suite struct ProductModelTests {
    @Test func fitFindsTheCostsOfACall() {
        var samples: [ProductModel.Sample] = []
        for m in [48, 160, 512, 1040] {
            for n in [64, 240, 768] {
                for k in [32, 320, 1000] {
                    let (multiplyAdds, elements) = (Double(m * n * k), Double(m * k))
                    let seconds = 2e-6 + multiplyAdds * 1e-11 + elements * 3e-10
                    samples.append(.init(whole(m, n, k), seconds: seconds))
                }
            }
        }
        let fit = ProductModel.Fit(samples)
        #expect(abs(fit.coefficients[1] / 1e-11 - 1) < 1e-3)
        #expect(fit.medianError < 0.01 && fit.ninthDecileError < 0.02)
        let model = ProductModel(cold: samples, hot: samples)
        let seconds = model.seconds(whole(300, 300, 300), coldness: .zero)
        #expect(abs(seconds / (2e-6 + 27e6 * 1e-11 + 9e4 * 3e-10) - 1) < 0.02)
    }

    /// Large operands come from memory whether they were just used or not.
    @Test func cachesSaveOnlyWhatTheyHold() {
        func samples(_ factor: (Int) -> Double) -> [ProductModel.Sample] {
            [32, 64, 128, 512, 1024, 2048].map { n in
                .init(whole(n, n, n), seconds: factor(n) * Double(n * n * n) * 1e-11)
            }
        }
        let model = ProductModel(cold: samples { _ in 1 }, hot: samples { $0 < 256 ? 0.5 : 1.1 })
        func ratio(_ n: Int) -> Double {
            let all = whole(n, n, n)
            return model.seconds(all, coldness: .zero) / model.seconds(all, coldness: .one)
        }
        #expect(abs(ratio(32) - 0.5) < 0.01)
        // Never slower for having been used.
        #expect(ratio(2048) == 1 && ratio(8192) == 1)
    }

    @Test func coldOperandsTakeLonger() {
        func samples(_ perElement: Double) -> [ProductModel.Sample] {
            var samples: [ProductModel.Sample] = []
            for (m, n) in [(64, 64), (64, 256), (256, 64), (256, 256), (64, 1024), (1024, 1024)] {
                let elements = Double(m * n)
                let seconds = elements * 128 * 1e-11 + elements * perElement
                samples.append(.init(whole(m, n, 128), seconds: seconds))
            }
            return samples
        }
        let model = ProductModel(cold: samples(9e-10), hot: samples(1e-10))
        let times = [SIMD3(0, 0, 0), SIMD3(0, 0, 0.5), SIMD3(1, 1, 1)].map {
            model.seconds(whole(512, 512, 128), coldness: $0)
        }
        #expect(times[0] < times[1] && times[1] < times[2])
    }

    /// Two threads take as long as the one with more, and what waiting for each other costs; a product too small for two as
    /// long as one.
    @Test func threadsTakeAsLongAsTheBusiest() {
        func seconds(_ part: ProductPart) -> Double {
            part.product.flops * 1e-11 + (part.isShared ? 5e-6 : 1e-6)
        }
        let samples = [(48, 48, 48), (96, 192, 48), (256, 192, 128), (320, 512, 256), (704, 64, 512)].map {
            let part = Product(.forward, m: $0, n: $1, k: $2).largestPart(among: 2)
            return ProductModel.Sample(part, seconds: seconds(part))
        }
        #expect(Set(samples.map(\.isShared)) == [false, true])
        let fit = ProductModel.Fit(samples)
        for (m, n, k) in [(64, 64, 64), (192, 256, 384), (512, 96, 320)] {
            let part = Product(.forward, m: m, n: n, k: k).largestPart(among: 2)
            let model = ProductModel(cold: samples, hot: samples)
            #expect(abs(model.seconds(part, coldness: .one) / seconds(part) - 1) < 0.05)
        }
        #expect(fit.medianError < 0.05)
    }

    private func whole(_ m: Int, _ n: Int, _ k: Int) -> ProductPart {
        Product(.forward, m: m, n: n, k: k).largestPart(among: 1)
    }
}

@Suite struct RowKernelModelTests {
    @Test func fitFindsWhatACallCosts() {
        func seconds(_ rows: Int, _ columns: Int) -> Double {
            2e-6 + Double(rows) * 1e-8 + Double(rows * columns) * 2e-10
        }
        let shapes = [(16, 32), (32, 64), (256, 64), (32, 1024), (96, 384)]
        let hot = RowKernelModel.Fit(shapes.map { .init(rows: $0, columns: $1, seconds: seconds($0, $1)) })
        #expect(hot.largestError < 0.01)
        #expect(abs(hot.secondsPerCall / 2e-6 - 1) < 0.01)
        // What is known from hot calls is not fitted anew.
        let cold = RowKernelModel.Fit(
            [(4096, 64), (512, 2048)].map {
                .init(rows: $0, columns: $1, seconds: 2e-6 + Double($0 * $1) * 8e-10)
            }, secondsPerCall: 2e-6)
        #expect(cold.secondsPerCall == 2e-6 && abs(cold.secondsPerElement / 8e-10 - 1) < 0.01)
        #expect(abs(hot.seconds(rows: 64, columns: 256) / seconds(64, 256) - 1) < 0.01)
    }
}

@Suite struct PackingTests {
    /// Growth of a process by these products in KiB, measured with OpenBLAS 0.3.21's Haswell kernels (P = Q = 320), to a
    /// page or two a thread. Two threads, each with half a product at the same time, pack for themselves; products of many
    /// rows are given to the library in parts.
    @Test(arguments: [
        (256, 256, 256, 1, 272), (4096, 512, 256, 1, 4352), (4096, 1024, 256, 1, 4416),
        (4096, 256, 384, 1, 201), (4096, 1024, 1024, 1, 5524), (1024, 1024, 1024, 1, 1684),
        (128, 1024, 512, 1, 448), (4096, 1024, 1024, 2, 5928), (1024, 4096, 1024, 2, 3364),
        (50_257, 768, 512, 1, 7552),
    ])
    func touchesWhatTheLibraryTouches(m: Int, n: Int, k: Int, threads: Int, kibibytes: Int) {
        let packing = Packing(blockRows: 320, panelDepth: 320)
        let bytes = packing.bytes([Product(.forward, m: m, n: n, k: k)], threads: threads)
        #expect(abs(bytes >> 10 - kibibytes) <= 8)
    }
}

@Suite struct TimeTests {
    private func plain() -> RunConfig {
        var config = w1()
        config.train.globalBatch = 32
        config.train.microBatch = .sequences(4)
        config.parallel.overlap = false
        return config
    }

    @Test func productsTakeTheirFLOPs() throws {
        let config = plain()
        let estimate = try Estimate(config: config, ranks: 2, profile: .example())
        let limits = try #require(estimate.time.limits)
        let work = Workload(config, microBatch: 4, sequencesPerRank: 16)
        let layers = [Work](repeating: work.backwardOfLayer, count: config.model.numLayers)
        let products = ([work.forward, work.head] + layers).flatMap(\.products)
        func flops(_ isIncluded: (Work.Products) -> Bool) -> Double {
            products.filter(isIncluded).reduce(0) {
                $0 + Double(work.microBatches * $1.count) * $1.product.flops
            }
        }
        #expect(flops { _ in true } == Double(estimate.flops.executed) / 2)
        let expected = flops { $0.place != .head } / 1e11
        #expect(abs((limits.forward.products + limits.backward.products) / expected - 1) < 1e-6)
        let time = estimate.time
        let parts = [time.forward, time.backward, time.optimizer, time.reduction].compactMap { $0 }
        #expect(abs(parts.reduce(0, +) / time.step! - 1) < 1e-12)
        #expect(try #require(time.uncertainty) > 0)
    }

    /// Conversions take time beside the same products.
    @Test func activationsIn16BitsAreConverted() throws {
        var config = plain()
        let profile = Profile.example()
        let full = try Estimate(config: config, ranks: 2, profile: profile).time
        config.precision.activations = .bf16
        let half = try Estimate(config: config, ranks: 2, profile: profile).time
        let (before, after) = (try #require(full.limits), try #require(half.limits))
        #expect(abs(after.forward.products / before.forward.products - 1) < 1e-9)
        #expect(abs(after.backward.products / before.backward.products - 1) < 1e-9)
        #expect(after.forward.kernels > 1.1 * before.forward.kernels)
        #expect(after.backward.kernels > 1.1 * before.backward.kernels)
        #expect(half.optimizer == full.optimizer)
    }

    /// For each product that reads them once, however many blocks of queries meet them, by the threads side by side.
    @Test(arguments: [(ModelConfig.AttentionMode.recomputed, 3), (.stored, 2)], [64, 200, 600])
    func keysAndValuesArePackedOnce(
        attention: (mode: ModelConfig.AttentionMode, inBackward: Int), context: Int
    ) throws {
        var config = config(
            ModelConfig(
                numLayers: 3, dModel: 128, numHeads: 2, dFF: 256, contextLength: context, vocabSize: 300),
            globalBatch: 4, microBatch: 4)
        config.model.attention = attention.mode
        config.parallel.threadsPerRank = 2
        var profile = Profile.example(layouts: [(1, 2)])
        func limits(secondsPerElement: Double) throws -> Estimate.Time.Limits {
            for index in profile.layouts.indices {
                let layout = profile.layouts[index]
                profile.layouts[index].tiles["medium"] = TileProductTimes(
                    products: layout.products, headProducts: layout.headProducts, packingSecondsPerElement: 0,
                    headPackingSecondsPerElement: secondsPerElement)
            }
            return try #require(try Estimate(config: config, ranks: 1, profile: profile).time.limits)
        }
        // Of all layers, sequences and heads.
        let seconds = 3 * 4 * 2 * Double(context * 64) * 1e-9 / 2
        for (precision, isPacked) in [(PrecisionConfig.MatMulPrecision.medium, 1.0), (.highest, 0)] {
            config.precision.matmul = precision
            let (without, with) = (
                try limits(secondsPerElement: 0), try limits(secondsPerElement: 1e-9)
            )
            for (phase, forms) in [(\Estimate.Time.Limits.forward, 2), (\.backward, attention.inBackward)] {
                let more = with[keyPath: phase].headProducts - without[keyPath: phase].headProducts
                #expect(abs(more - isPacked * Double(forms) * seconds) < 1e-9 * seconds)
            }
        }
    }

    @Test func reductionFollowsTheRing() throws {
        let estimate = try Estimate(config: plain(), ranks: 2, profile: .example())
        let bytes = 4 * estimate.parameters
        let buckets = Double((bytes + (4 << 20) - 1) / (4 << 20))
        // Two messages a bucket, each half of it.
        let expected = 2 * buckets * 1e-5 + Double(bytes) * 1e-9
        #expect(abs(try #require(estimate.time.reduce) / expected - 1) < 0.02)
        #expect(try Estimate(config: plain(), ranks: 1, profile: .example()).time.reduction == 0)
        #expect(estimate.time.limits?.exchange == HostExchange(bytes: bytes, isSharded: false))
    }

    /// On hosts of half the speed, a reduction between ranks of one takes √2 times as long, over a network as long as ever.
    @Test(arguments: [(1, 2.0.squareRoot()), (2, 1.0)])
    func reductionsAreAsFastAsWhatLimitsThem(hosts: Int, factor: Double) throws {
        let estimate = try Estimate(
            config: plain(), ranks: 2, hosts: hosts, profile: .example(hosts: hosts))
        var speed = try #require(estimate.time.limits?.reference)
        speed.flopsPerSecond /= 2
        speed.kernelElementsPerSecond /= 2
        speed.copyBytesPerSecond /= 2
        speed.exchange?.cached /= 2
        speed.exchange?.gradients /= 2
        speed.exchange?.shards /= 2
        let atSpeed = estimate.atSpeed([speed, speed])
        #expect(atSpeed.count == 2)
        for rank in atSpeed {
            let expected = factor * (try #require(estimate.time.reduction))
            #expect(expected > 0 && abs((rank.time.reduction ?? 0) / expected - 1) < 1e-9)
        }
    }

    /// What is kept of attention's probabilities comes from memory, what is computed again does not.
    @Test func keptProbabilitiesTakeMemorysTime() throws {
        var config = plain()
        func work(_ attention: ModelConfig.AttentionMode) -> (kept: Double, fetched: Double) {
            config.model.attention = attention
            let workload = Workload(config, microBatch: 4, sequencesPerRank: 16)
            return (workload.forward.keptElements, workload.backwardOfLayer.fetchedElements)
        }
        let (kept, fetched) = work(.stored)
        #expect(work(.recomputed) == (0, 0))
        let (model, half) = (config.model, 0.5)
        #expect(kept == Double(model.numLayers) * fetched)
        // No key behind the last query of a block.
        let all = Double(4 * model.numHeads * model.contextLength * model.contextLength)
        #expect(fetched > half * all && fetched <= all)
        config.precision.activations = .bf16
        #expect(work(.stored) == (half * kept, half * fetched))

        config.precision.activations = .fp32
        var profile = Profile.example()
        for index in profile.layouts.indices {
            // All that a step touches is far away.
            profile.layouts[index].bandwidth.append(.init(bytes: 2 << 20, bytesPerSecond: 1e10))
        }
        func limits(_ attention: ModelConfig.AttentionMode) throws -> Estimate.Time.Limits {
            config.model.attention = attention
            return try #require(try Estimate(config: config, ranks: 2, profile: profile).time.limits)
        }
        let (stored, recomputed) = (try limits(.stored), try limits(.recomputed))
        // 3 ns more than in the cache for each of the elements of 4 micro-batches.
        for phase in [\Estimate.Time.Limits.forward, \.backward] {
            let more = stored[keyPath: phase].memory - recomputed[keyPath: phase].memory
            #expect(abs(more / (4 * kept * 3e-9) - 1) < 1e-6)
        }
    }

    /// A reduction that was never measured is unknown, and with it the step; it is not nothing.
    @Test func unmeasuredReductionsAreUnknown() throws {
        let alone = Profile.example(layouts: [(1, 1)])
        for (ranks, hosts, profile) in [(2, 1, alone), (4, 2, Profile.example())] {
            let time = try Estimate(config: plain(), ranks: ranks, hosts: hosts, profile: profile).time
            #expect(time.reduction == nil && time.step == nil)
            #expect(try #require(time.forward) > 0 && #require(time.backward) > 0)
        }
        #expect(try Estimate(config: plain(), ranks: 1, profile: alone).time.step != nil)
    }

    /// Slow as it may be within backward, a reduction between hosts that has the time leaves only the first layer's buckets; one
    /// that has not goes on behind it with all that is left. On one host nothing is hidden.
    @Test func backwardHidesWhatItHasTimeFor() throws {
        var config = plain()
        var profile = Profile.example(hosts: 2)
        let exposed = try Estimate(config: config, ranks: 2, hosts: 2, profile: profile)
        let total = try #require(exposed.time.reduce)
        config.parallel.overlap = true
        let ofOneHost = try Estimate(config: config, ranks: 2, profile: .example()).time
        #expect(ofOneHost.reduceOverlapped == 0 && ofOneHost.reduce == total)
        func time(progress: Double) throws -> Estimate.Time {
            for index in profile.layouts.indices {
                profile.layouts[index].overlap = .init(progress: progress, cost: 0.25)
            }
            return try Estimate(config: config, ranks: 2, hosts: 2, profile: profile).time
        }
        let bytes = Double(4 * exposed.parameters)
        let bucket = Double(4 << 20) / bytes
        for progress in [0.5, 1] {
            let left = try #require(try time(progress: progress).reduce)
            #expect(left > 0 && left <= 3 * bucket * total, "\(progress)")
        }
        let hurried = try time(progress: 1e-4)
        let window = try #require(hurried.backward)
        let hidden = total - (try #require(hurried.reduce))
        #expect(hidden > 0 && hidden < 1e-4 * window)
        #expect(abs(try #require(hurried.reduceOverlapped) / (0.25 * hidden) - 1) < 1e-9)
        #expect(try time(progress: 0).reduce == total)
    }

    @Test func layoutsBetweenMeasuredOnesLieBetween() throws {
        let profile = Profile.example(cores: 8, layouts: [(1, 1), (8, 1), (1, 8)])
        var config = plain()
        func step(_ ranks: Int, threads: Int) throws -> Double {
            config.parallel.threadsPerRank = threads
            config.train.globalBatch = 4 * ranks
            return try #require(try Estimate(config: config, ranks: ranks, profile: profile).time.step)
        }
        let (one, two, eight) = (try step(1, threads: 1), try step(1, threads: 2), try step(1, threads: 8))
        #expect(one > two && two > eight)
        let time = try Estimate(config: config, ranks: 1, profile: profile).time
        #expect(try #require(time.uncertainty) < 0.1)
        config.parallel.threadsPerRank = 2
        let between = try Estimate(config: config, ranks: 1, profile: profile).time
        #expect(try #require(between.uncertainty) > 0.1)
    }
}

@Suite struct RuntimeMemoryTests {
    @Test func peakIsArenasAndRuntime() throws {
        let config = w1()
        let memory = try Estimate(config: config, ranks: 2, profile: .example()).memory
        let bare = 34 << 20
        let runtime = try #require(memory.runtime)
        #expect(runtime > bare && memory.peak == memory.arenas + runtime + (1 << 20))
        // Two ranks, the shared 24 MiB once.
        #expect(memory.node == 2 * (memory.arenas + runtime - (24 << 20)) + (24 << 20) + (1 << 20))
    }

    /// A corpus takes no memory, but evaluation takes time.
    @Test func aLargerCorpusTakesLongerToEvaluateOn() throws {
        var config = w1()
        config.data.validationFraction = 0.1
        func estimate(tokens: Int?) throws -> Estimate {
            try Estimate(config: config, ranks: 1, profile: .example(), corpusTokens: tokens)
        }
        let (one, ten) = (try estimate(tokens: 10_000_000), try estimate(tokens: 100_000_000))
        #expect(try one.memory == ten.memory && one.memory == estimate(tokens: nil).memory)
        let ratio = try #require(ten.time.evaluation) / (try #require(one.time.evaluation))
        #expect(abs(ratio / 10 - 1) < 0.01)
    }
}
