import Configs

extension PreparedCorpus {
    /// Writes the pairs of both splits. A file is cut at a line, generated pairs by their sources.
    static func preparePairs(
        _ data: DataConfig, _ encoding: ParallelEncoding, _ room: PairRoom, directory: String,
        progress: (Double) -> Void
    ) throws {
        let paths = (
            train: shardPath(.train, in: directory), validation: shardPath(.validation, in: directory)
        )
        let file = data.task == .pairs ? try PairFile(path: data.path, format: data.pairFormat) : nil
        try createFolder(directory)
        try data.keepTokenizer(in: directory)
        guard let file else {
            try writeGenerated(data, encoding.tokenizer, room, to: paths)
            return
        }
        let size = file.bytes.count
        let boundary = file.boundary(near: size - Int((Double(size) * data.validationFraction).rounded()))
        for (path, range) in [(paths.train, 0..<boundary), (paths.validation, boundary..<size)] {
            var writer = try PairShardWriter(path: path, encoding.tokenizer)
            try encoding.runPairs(file, in: range) { pair in
                let pair = try room.fitted(pair, truncates: data.truncate)
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
        _ data: DataConfig, _ tokenizer: any Tokenizer, _ room: PairRoom,
        to paths: (train: String, validation: String)
    ) throws {
        let longest = GeneratedPairs.longest(data.task, data.generated)
        if let lack = room.lack(source: longest.source, target: longest.target) {
            throw LockstepError(
                .badConfiguration,
                "data.task \(data.task.rawValue) makes pairs of up to \(longest.source) tokens of source and "
                    + "\(longest.target) of target, which take \(lack). Raise it, or lower "
                    + "data.generated.max_length or data.generated.digits.")
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
