import Configs

/// Bytes of activations and workspace for each thread up to which a larger micro-batch is taken to be faster: more rows
/// share the packing of a weight matrix, until the pass no longer stays in the last-level cache. With 6 layers of width 384
/// and context 256, micro-batches of 4 (110 MiB) trained about 5 % faster than of 1 (27 MiB), and no slower than of 16; two
/// threads, each of which packs the weights for its rows, 4 % slower than with micro-batches of 8 (Zen 3).
private let passBudgetPerThread = 192 << 20

/// Sequences that a rank takes through one forward and backward pass.
///
/// `auto` is the largest divisor of a rank's share of the global batch whose activations and workspace fit 192 MiB for
/// each thread, at least 1. In a reproducible run it is 1, because a choice by a rank's share would depend on the number of ranks.
///
/// - Throws: `LockstepError` (`badConfiguration`) if the global batch, or a given micro-batch, does not divide.
public func resolvedMicroBatch(config: RunConfig, ranks: Int) throws -> Int {
    try config.validate(ranks: ranks)
    if case .sequences(let count) = config.train.microBatch { return count }
    if config.parallel.reproducible { return 1 }
    let share = config.train.globalBatch / ranks
    let one = PassFootprint(config, microBatch: 1)
    let passBudget = config.parallel.threadsPerRank * passBudgetPerThread
    // Activations are proportional to the micro-batch, so no larger one than this can fit.
    let bound = min(share, passBudget / max(1, try one.activations.exact("bytes of the activations")))
    for candidate in stride(from: bound, through: 2, by: -1) where share % candidate == 0 {
        let pass = PassFootprint(config, microBatch: candidate)
        let bytes = try (pass.activations + pass.workspace).exact("bytes of the activations and workspace")
        if bytes <= passBudget { return candidate }
    }
    return 1
}
