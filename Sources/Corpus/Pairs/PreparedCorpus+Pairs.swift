import Configs

extension PreparedCorpus {
    /// Writes the pairs of both splits. A file is cut at a line, generated pairs by their sources.
    static func preparePairs(
        _ data: DataConfig, _ encoding: ParallelEncoding, contextLength: Int, directory: String,
        progress: (Double) -> Void
    ) throws {
        let paths = (
            train: shardPath(.train, in: directory), validation: shardPath(.validation, in: directory)
        )
        let file = data.task == .pairs ? try PairFile(path: data.path, format: data.pairFormat) : nil
        try createFolder(directory)
        try data.keepTokenizer(in: directory)
        guard let file else {
            try writeGenerated(data, encoding.tokenizer, contextLength: contextLength, to: paths)
            return
        }
        let size = file.bytes.count
        let boundary = file.boundary(near: size - Int((Double(size) * data.validationFraction).rounded()))
        for (path, range) in [(paths.train, 0..<boundary), (paths.validation, boundary..<size)] {
            var writer = try PairShardWriter(path: path, encoding.tokenizer)
            try encoding.runPairs(file, in: range) { pair in
                let pair = try data.fitted(pair, contextLength: contextLength)
                try writer.append(source: pair.source, target: pair.target)
                progress(Double(pair.lineStart) / Double(size))
            }
            guard writer.count > 0 else {
                throw LockstepError(
                    .badConfiguration,
                    "\(file.path): a split has no pairs, of \(size) bytes with data.validation_fraction "
                        + "\(data.validationFraction). Use a file of more pairs, or change the fraction.")
            }
            try writer.finish()
        }
    }

    private static func writeGenerated(
        _ data: DataConfig, _ tokenizer: any Tokenizer, contextLength: Int,
        to paths: (train: String, validation: String)
    ) throws {
        let longest = GeneratedPairs.longest(data.task, data.generated)
        guard longest - 1 <= contextLength else {
            throw LockstepError(
                .badConfiguration,
                "model.context_length is \(contextLength), but data.task \(data.task.rawValue) makes pairs of up to "
                    + "\(longest - 1) tokens. Raise it, or lower data.generated.max_length or data.generated.digits."
            )
        }
        let wanted = data.generated.samples
        let heldOut = min(wanted - 1, max(1, Int((Double(wanted) * data.validationFraction).rounded())))
        var train = try PairShardWriter(path: paths.train, tokenizer)
        var validation = try PairShardWriter(path: paths.validation, tokenizer)
        var pairs = GeneratedPairs(data.task, data.generated)
        var tries = 0
        while train.count < wanted - heldOut || validation.count < heldOut {
            tries += 1
            // With few sources a split may have none.
            guard tries < 1000 + 100 * wanted else {
                throw LockstepError(
                    .badConfiguration,
                    "data.task \(data.task.rawValue) has too few different sources to hold some out for validation. Raise "
                        + "data.generated.max_length, symbols or digits.")
            }
            let (source, target) = pairs.next()
            if GeneratedPairs.isHeldOut(source, share: data.validationFraction) {
                guard validation.count < heldOut else { continue }
                try validation.append(source: tokenizer.encode(source), target: tokenizer.encode(target))
            } else {
                guard train.count < wanted - heldOut else { continue }
                try train.append(source: tokenizer.encode(source), target: tokenizer.encode(target))
            }
        }
        try train.finish()
        try validation.finish()
    }
}

extension DataConfig {
    /// A pair that fits into the context, with separator and end. Throws a `LineFault` when it is too long and must not be
    /// cut.
    func fitted(_ pair: TokenizedPair, contextLength: Int) throws -> TokenizedPair {
        // The last token is no input.
        let excess = pair.source.count + pair.target.count + 1 - contextLength
        guard excess > 0 else { return pair }
        guard truncate else {
            throw LineFault(
                start: pair.lineStart,
                text:
                    "\(pair.source.count) tokens of source and \(pair.target.count) of target take a context of "
                    + "\(contextLength + excess), but model.context_length is \(contextLength). Raise it, or set "
                    + "data.truncate to true to cut such pairs")
        }
        var cut = pair
        cut.source.removeLast(min(excess, cut.source.count))
        cut.target.removeLast(max(0, excess - pair.source.count))
        return cut
    }
}
