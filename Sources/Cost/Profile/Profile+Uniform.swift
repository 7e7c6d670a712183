import Configs

extension Profile {
    /// A made-up machine of round numbers, for what needs some profile but no prediction: products at 100 GFLOP/s, kernels at a nanosecond an element, memory four times slower
    /// than the cache, reductions at a gigabyte a second and 10 µs a message.
    public static func uniform(
        cores: Int = 2, layouts: [(ranksPerHost: Int, threads: Int)] = [(1, 1), (2, 1)], hosts: Int = 1
    ) -> Profile {
        Profile(
            created: "2026-01-01T00:00:00Z",
            machine: .init(
                host: "made-up", cpu: "made-up CPU", cores: cores, memory: 16 << 30, privateCache: 1 << 20,
                mpi: "made-up MPI", blas: "made-up BLAS", blasKernels: "made-up", isaLevel: 4,
                tileInstructions: "made-up"),
            layouts: layouts.map {
                .uniform(hosts: hosts, ranksPerHost: $0.ranksPerHost, threads: $0.threads)
            },
            packing: .init(blockRows: 320, panelDepth: 320))
    }
}

extension Profile.Layout {
    public static func uniform(hosts: Int, ranksPerHost: Int, threads: Int) -> Profile.Layout {
        let rate = 1e11 * Double(threads)
        let extents = [64, 256, 1024]
        let timed = extents.flatMap { m in
            extents.flatMap { n in
                extents.map { k in
                    let part = Product(.forward, m: m, n: n, k: k).largestPart(among: threads)
                    return ProductModel.Sample(part, seconds: part.product.flops / 1e11)
                }
            }
        }
        func kernel(_ nanoseconds: Double) -> RowKernelModel.Fit {
            .init(
                [(16, 64), (64, 256)].map {
                    .init(rows: $0.0, columns: $0.1, seconds: Double($0.0 * $0.1) * nanoseconds * 1e-9)
                }, secondsPerCall: 0)
        }
        let products = ProductModel(cold: timed, hot: timed)
        let ranks = hosts * ranksPerHost
        let bucketBytes = ParallelConfig().bucketBytes(ranks: max(2, ranks))
        let reduction = ReductionModel(
            algorithm: "ring", ranks: max(2, ranks), hosts: hosts,
            samples: [1 << 14, 1 << 20, 1 << 24].map { bytes in
                let cost = ReductionModel.ring(bytes: bytes, ranks: max(2, ranks), bucketBytes: bucketBytes)
                return .init(bytes: bytes, seconds: cost.messages * 1e-5 + cost.bytes * 1e-9)
            }, bucketBytes: bucketBytes)
        var layout = Profile.Layout(
            hosts: hosts, ranksPerHost: ranksPerHost, threads: threads, duration: 1,
            reference: .init(
                flopsPerSecond: rate, kernelElementsPerSecond: 1e9, copyBytesPerSecond: 1e10,
                exchange: .init(cached: 1e10, gradients: 1e10, shards: 1e10),
                handoverBytesPerSecond: threads > 1 ? 1e10 : nil,
                productSpread: 0.02, kernelSpread: 0.02, copySpread: 0.03),
            products: Dictionary(uniqueKeysWithValues: Product.Role.allCases.map { ($0.rawValue, products) }),
            headProducts: Dictionary(
                uniqueKeysWithValues: Product.Role.allCases.map { ($0.rawValue, products.cold) }),
            kernels: Dictionary(
                uniqueKeysWithValues: RowKernel.allCases.map {
                    ($0.rawValue, RowKernelModel(hot: kernel(1), cold: kernel(4)))
                }),
            bandwidth: [.init(bytes: 1 << 20, bytesPerSecond: 1e11)],
            reductions: ranks > 1 ? [reduction] : [],
            overlap: hosts > 1 ? .init(progress: 0.5, cost: 0) : nil,
            phases: .init(
                forward: .init(products: 1, rest: 1), backward: .init(products: 1, rest: 1), optimizer: 1,
                reduction: 1,
                wait: 0, jitter: 0, scatter: 0.03, probes: []),
            checkpoint: .init(seconds: 0.01, secondsPerByte: 1e-9),
            memory: .init(anonymous: 10 << 20, file: 20 << 20, shared: 4 << 20, coordinator: 1 << 20))
        // Memory at 20 GB/s, as long as products do not take longer.
        func samples(bytes: Double, rows: [Int]) -> [InferenceModel.Sample] {
            rows.flatMap { rows in
                [1 << 20, 1 << 26].map {
                    .init(
                        rows: rows, bytes: $0,
                        secondsPerNumber: max(bytes / 2e10, 2 * Double(rows) / rate))
                }
            }
        }
        if ranks == 1 {
            layout.inference = InferenceModel(
                weights: samples(bytes: 4, rows: [1, 16, 128]),
                roundedWeights: samples(bytes: 2, rows: [1, 16, 128]),
                draftWeights: samples(bytes: 1, rows: [1]),
                attention: samples(bytes: 4, rows: [1]), secondsPerMultiplyAdd: 2 / rate, runtime: 30 << 20)
        }
        return layout
    }
}
