extension RunConfig {
    /// Checks that the global batch can be divided among the ranks and each rank's share into micro-batches.
    ///
    /// - Throws: `LockstepError` (`badConfiguration`) that says which numbers work.
    public func validate(ranks: Int) throws {
        guard ranks >= 1 else {
            throw LockstepError(.usage, "\(ranks) ranks: there must be at least 1")
        }
        guard !parallel.reproducible || ranks.nonzeroBitCount == 1 else {
            let below = 1 << (Int.bitWidth - 1 - ranks.leadingZeroBitCount)
            throw LockstepError(
                .badConfiguration,
                "parallel.reproducible sums over a binary tree of ranks, so their number must be a power of two, not "
                    + "\(ranks); start \(below) or \(2 * below), or set parallel.reproducible=false")
        }
        let batch = train.globalBatch
        guard batch % ranks == 0 else {
            let below = batch / ranks * ranks
            let (above, overflows) = below.addingReportingOverflow(ranks)
            let others = [below, overflows ? 0 : above].filter { $0 > 0 }.map(String.init)
            throw LockstepError(
                .badConfiguration,
                "train.global_batch \(batch) cannot be divided among \(ranks) ranks; it works with "
                    + "\(divisorList(of: batch)) ranks; with \(ranks) ranks use "
                    + others.joined(separator: " or "))
        }
        if case .sequences(let count) = train.microBatch {
            let share = batch / ranks
            guard count >= 1, share % count == 0 else {
                throw LockstepError(
                    .badConfiguration,
                    "train.micro_batch \(count) does not divide a rank's share of the global batch "
                        + "(\(batch) / \(ranks) = \(share) sequences); use \(divisorList(of: share)) or auto")
            }
        }
    }

    /// What does not go together in a configuration whose keys are each within their limits; nil if nothing.
    var inconsistency: String? {
        if let problem = model.inconsistency { return problem }
        if let problem = data.inconsistency { return problem }
        if data.tokenizer == .bytes && model.vocabSize < 256 {
            return "model.vocab_size \(model.vocabSize) is too small for data.tokenizer bytes; it needs 256"
        }
        if model.family == .encoder && data.task.hasPairs {
            return
                "data.task \(data.task.rawValue) has targets of its own, but model.family encoder predicts masked tokens; "
                + "use data.task language or model.family decoder"
        }
        if model.family == .encoderDecoder && !data.task.hasPairs {
            return
                "model.family encoder-decoder learns to make a target of a source, but data.task \(data.task.rawValue) has no "
                + "pairs of them; use data.task pairs, copy, reverse, sort or addition, or model.family decoder"
        }
        if model.family == .encoder {
            let token = data.maskToken ?? model.vocabSize - 1
            if token >= model.vocabSize {
                return "data.mask_token \(token) is outside of model.vocab_size \(model.vocabSize)"
            }
            if data.tokenizer == .bytes && ![.shard, .uint16].contains(data.resolvedFormat) && token < 256 {
                return
                    "data.mask_token \(token) is a byte of the text; give model.vocab_size at least 257, so that 256 can "
                    + "stand for masked bytes"
            }
        }
        if parallel.reproducible && parallel.optimizerSharding {
            return
                "parallel.optimizer_sharding sums squared gradients by rank, which parallel.reproducible does not allow; "
                + "set one of them to false"
        }
        if parallel.reproducible && parallel.reduction == .hierarchical {
            return
                "parallel.reproducible has a reduction of its own; parallel.reduction must be auto or ring with it"
        }
        if train.onNonFinite == .rollback && train.checkpointEvery == 0 {
            return
                "train.on_non_finite rollback needs checkpoints to go back to; train.checkpoint_every must be above 0"
        }
        if train.patience > 0 && train.evaluateEvery == 0 {
            return
                "train.patience counts evaluations, but train.evaluate_every is 0; give the steps between two of them"
        }
        let warmup = train.schedule.warmupSteps
        if warmup > train.steps {
            return "train.schedule.warmup_steps \(warmup) is more than train.steps \(train.steps)"
        }
        let optimizer = train.optimizer
        if optimizer.momentum > 0 && ![.sgd, .rmsprop].contains(optimizer.name) {
            return "train.optimizer.momentum is for sgd and rmsprop; \(optimizer.name.rawValue) takes 0"
        }
        if optimizer.nesterov && !(optimizer.name == .sgd && optimizer.momentum > 0) {
            return "train.optimizer.nesterov is for sgd with a momentum above 0"
        }
        if largestCount >= 0x1p62 {
            return "the model or the batch is too large: a step would take \(largestCount) FLOPs or bytes, "
                + "more than 64 bits can count; check the sizes in model and train.global_batch"
        }
        return nil
    }

    /// About the FLOPs of a step or an upper bound of its bytes, whichever is more; in floating point, so that no
    /// size can overflow it. Below 2⁶², integer counts of FLOPs, bytes and elements cannot overflow either.
    private var largestCount: Double {
        let (h, f) = (Double(model.dModel), Double(model.dFF))
        // As if every layer were of source and target, and attention to the source a layer more.
        let s = Double(model.contextLength) + Double(model.sourceLength)
        let isPair = model.family == .encoderDecoder
        let layers = Double(model.numLayers) * (isPair ? 2 : 1) + Double(model.encoderLayers)
        let heads = Double(model.numHeads)
        let vocab = Double(model.vocabSize)
        let tokens = Double(train.globalBatch) * s
        // As many key and value heads as query heads, gated, with biases and all norms.
        let types = Double(model.tokenTypes)
        let embedded = (isPair ? 3 : 2) * vocab * h + vocab + s * h + types * h + h * h + 8 * h
        let parameters = layers * (4 * h * h + 3 * h * f + 9 * h + 2 * f) + embedded
        let flops = tokens * (layers * (24 * h * h + 18 * h * f + 14 * s * h) + 6 * h * (vocab + h))
        let perToken = layers * (8 * h + 5 * f + heads * (s + 1) + 4) + 21 * h + 4 * s + vocab + 8
        return max(flops, 4 * (4 * parameters + tokens * perToken))
    }
}

extension ModelConfig {
    /// What does not go together in a model; nil if nothing.
    fileprivate var inconsistency: String? {
        if dModel % numHeads != 0 {
            return "model.d_model \(dModel) is not divisible by model.num_heads \(numHeads); "
                + "use \(divisorList(of: dModel)) heads"
        }
        if numHeads % numKVHeads != 0 {
            return
                "model.num_heads \(numHeads) is not divisible by model.num_kv_heads \(numKVHeads), and all of these "
                + "are shared by equally many heads; use \(divisorList(of: numHeads))"
        }
        if family == .encoderDecoder {
            let missing = [(encoderLayers, "encoder_layers"), (sourceLength, "source_length")].first {
                $0.0 == 0
            }
            if let missing {
                return
                    "model.\(missing.1) is 0, but model.family encoder-decoder needs at least 1; leave it out for as "
                    + "much as its decoder has"
            }
        } else {
            let given = [(encoderLayers, "encoder_layers"), (sourceLength, "source_length")].first {
                $0.0 > 0
            }
            if let given {
                return
                    "model.\(given.1) is for model.family encoder-decoder, but this is of family \(family.rawValue); "
                    + "leave it out"
            }
        }
        let headWidth = dModel / numHeads
        if positions == .rotary && headWidth % 2 != 0 {
            return "model.positions rotary turns the halves of a head, but model.d_model / model.num_heads = "
                + "\(headWidth) is odd; use another model.num_heads, or learned or sinusoidal positions"
        }
        return nil
    }
}

extension DataConfig {
    /// What does not go together; nil if nothing.
    var inconsistency: String? {
        if task.isGenerated {
            guard packing == .stream else {
                return "data.packing documents is not for data.task \(task.rawValue), which has no documents"
            }
            guard path.isEmpty else {
                return
                    "data.path \(excerpt(path)) is not used by data.task \(task.rawValue), which makes its own data; "
                    + "leave it out"
            }
            guard generated.minLength <= generated.maxLength else {
                return
                    "data.generated.min_length \(generated.minLength) is more than data.generated.max_length "
                    + "\(generated.maxLength)"
            }
            return nil
        }
        guard !path.isEmpty else {
            return "missing data.path; it must be the path of a file for data.task \(task.rawValue)"
        }
        let formats: [Format] =
            switch task {
            case .pairs: [.tsv, .jsonl]
            case .canaries: [.text]
            default: [.text, .jsonl, .shard, .uint16]
            }
        guard formats.contains(resolvedFormat) else {
            return "data.task \(task.rawValue) does not take data.format \(resolvedFormat.rawValue) "
                + "(\(excerpt(path))); it takes \(formats.map(\.rawValue).joined(separator: ", "))"
        }
        if packing == .documents {
            guard task == .language, [.text, .jsonl].contains(resolvedFormat) else {
                return
                    "data.packing documents is for the documents of data.format jsonl and the lines of text, not for "
                    + "data.task \(task.rawValue) and data.format \(resolvedFormat.rawValue)"
            }
        }
        return nil
    }
}

/// The divisors of a count, "1, 2, 4, 8": all, or if many the smallest ones.
private func divisorList(of count: Int, limit: Int = 12) -> String {
    guard count >= 1 else { return "1" }
    var small: [Int] = []
    var large: [Int] = []
    var candidate = 1
    while candidate <= count / candidate {
        if count % candidate == 0 {
            small.append(candidate)
            if candidate != count / candidate { large.append(count / candidate) }
        }
        candidate += 1
    }
    let divisors = small + large.reversed()
    let shown = divisors.prefix(limit).map(String.init).joined(separator: ", ")
    return divisors.count > limit ? shown + ", …" : shown
}
