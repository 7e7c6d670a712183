import Configs
import Foundation

extension Estimate.Memory {
    /// What a rank takes beside its arenas.
    struct Runtime {
        /// Of the rank alone: heap, stacks, MPI's and BLAS's buffers.
        let ownBytes: Int
        /// Counted in every rank, but there once a host: binary, libraries, pages of the corpus, MPI's segments.
        let sharedBytes: Int
        /// What rank 0 has beyond the others.
        let coordinator: Int
        let ranksPerHost: Int

        var bytes: Int { ownBytes + sharedBytes }

        /// From a measured bare rank, the model's own products and the corpus. Nil when `profile` measured no layout.
        init?(
            _ config: RunConfig, _ profile: Profile, _ placement: Placement, microBatch: Int,
            corpus: MappedCorpus?
        ) {
            guard let layout = profile.layout(nearest: placement) else { return nil }
            let packed = profile.packing.bytes(of: config, microBatch: microBatch)
            ownBytes = layout.memory.anonymous + packed
            sharedBytes =
                layout.memory.file + layout.memory.shared
                + (corpus?.residentBytes(config, ranks: placement.ranks) ?? 0)
            coordinator = layout.memory.coordinator
            ranksPerHost = placement.ranksPerHost
        }
    }
}

/// The token shards as a rank's memory sees them: mapped, and resident as far as they have been read.
public struct MappedCorpus: Sendable {
    /// Samples of the whole corpus; sample i takes tokens i·s to (i + 1)·s of its split.
    let trainSamples: Int
    let validationSamples: Int
    private let sampleBytes: Double
    /// Whether all of the files are read before the first step.
    private let isReadWhole: Bool

    /// - Parameter tokens: of training and validation split together.
    public init(tokens: Int, config: RunConfig) {
        let length = config.model.contextLength
        let validation = Int((Double(tokens) * config.data.validationFraction).rounded())
        trainSamples = max(0, (tokens - validation - 1) / length)
        validationSamples = max(0, (validation - 1) / length)
        let tokenBytes = config.model.vocabSize <= 1 << 16 ? 2 : 4
        // A pair's place is in an index, 16 bytes for each, and pairs are checked when they are opened.
        isReadWhole = config.data.task.hasPairs
        sampleBytes = Double(tokenBytes * length + (isReadWhole ? 16 : 0))
    }

    /// Bytes that are mapped when a run has ended.
    ///
    /// A page fault maps the 64 KiB around it (Linux's `fault_around_bytes`). Of W such windows, n shuffled samples meet
    /// W·(1 − (1 − 1/W)ⁿ) on average. A rank evaluates its share of the validation split in order. Of pairs everything is
    /// mapped.
    public func residentBytes(_ config: RunConfig, ranks: Int) -> Int {
        guard !isReadWhole else { return Int(Double(trainSamples + validationSamples) * sampleBytes) }
        let window = 65_536.0
        let windows = max(1, Double(trainSamples) * sampleBytes / window)
        let read = Double(config.train.steps) * Double(config.train.globalBatch) / Double(ranks)
        let train = windows * (1 - pow(1 - 1 / windows, read)) * window
        return Int(train + Double(validationSamples) * sampleBytes / Double(ranks))
    }
}
