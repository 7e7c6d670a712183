import Configs

extension Estimate.Memory {
    /// What a rank takes beside its arenas.
    struct Runtime {
        /// Of the rank alone: heap, stacks, MPI's and BLAS's buffers.
        let ownBytes: Int
        /// Counted in every rank, but there once a host: binary, libraries, MPI's segments.
        let sharedBytes: Int
        /// What rank 0 has beyond the others.
        let coordinator: Int
        let ranksPerHost: Int

        var bytes: Int { ownBytes + sharedBytes }

        /// From a measured bare rank and the model's own products. Nil when `profile` measured no layout.
        init?(_ config: RunConfig, _ profile: Profile, _ placement: Placement, microBatch: Int) {
            guard let layout = profile.layout(nearest: placement) else { return nil }
            let packed = profile.packing.bytes(of: config, microBatch: microBatch)
            ownBytes = layout.memory.anonymous + packed
            sharedBytes = layout.memory.file + layout.memory.shared
            coordinator = layout.memory.coordinator
            ranksPerHost = placement.ranksPerHost
        }
    }
}
