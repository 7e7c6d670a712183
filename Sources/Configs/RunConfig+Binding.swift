extension RunConfig {
    /// Keys that say how long, how often, where and by how many a run is computed, but not what it is. Of the corpus and the
    /// tokenizer the contents count, which checkpoints have the digests of.
    private static let free: Set<String> = [
        "name", "data.path", "data.format", "data.tokenizer", "train.steps", "train.micro_batch",
        "train.evaluate_every",
        "train.checkpoint_every",
        "train.keep_checkpoints", "train.keep_checkpoint_every", "train.patience", "train.keep_best",
        "train.on_non_finite", "model.attention",
    ]

    /// What must stay the same when a run is resumed: key paths and their values as they are written.
    ///
    /// Every other key may change. A reproducible run binds what changes the last bits of a sum, too.
    public var bindingKeys: [String: String] {
        let values = Self.keys.flatMap { $0.values(self) }.filter { path, _ in
            if path == "parallel.reproducible" { return true }
            if path.hasPrefix("parallel.") { return false }
            if parallel.reproducible && ["train.micro_batch", "model.attention"].contains(path) {
                return true
            }
            return !Self.free.contains(path)
        }
        return Dictionary(uniqueKeysWithValues: values.map { ($0.path, $0.value) })
    }
}
