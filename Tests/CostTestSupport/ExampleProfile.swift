import Cost

extension Profile {
    /// A machine of round numbers: products at 100 GFLOP/s, kernels at a nanosecond an element, memory four times slower
    /// than the cache, reductions at a gigabyte a second and 10 µs a message.
    public static func example(
        cores: Int = 2, layouts: [(ranksPerHost: Int, threads: Int)] = [(1, 1), (2, 1)], hosts: Int = 1
    ) -> Profile {
        .uniform(cores: cores, layouts: layouts, hosts: hosts)
    }
}
